"""examples/client.py: which errors pass by themselves, and a connection in which LISTEN fails."""

import sys

import psycopg
from conftest import EXAMPLES

sys.path.insert(0, str(EXAMPLES))
from client import Database, passes    # noqa: E402


def error_of(state):
    error = psycopg.errors.lookup(state)()
    error.sqlstate = state
    return error


def test_what_passes_by_itself():
    for state in ['40001', '40P01', '25006', '57P01', '57P03', '53300', '08006', '08P01']:
        assert passes(error_of(state)), state
    for state in ['P0002', '55000', '42501', '22023', '42883', '3F000']:
        assert not passes(error_of(state)), state
    assert passes(psycopg.OperationalError('connection to server on socket failed: Connection refused'))
    assert passes(psycopg.OperationalError('FATAL:  the database system is starting up'))
    assert not passes(psycopg.OperationalError('FATAL:  password authentication failed for user "x"'))
    assert not passes(psycopg.InterfaceError('x')) and not passes(ValueError('x'))


def test_failure_of_listen_ends_nothing(db):
    said = []
    database = Database('test', said.append, 1, ('no channel',))
    assert database.execute('SELECT 1', []) == [(1,)]
    assert said == ['looking for work without notifications: syntax error at or near "channel"']
    database.close()
    # Nor is it tried again.
    assert database.execute('SELECT 2', []) == [(2,)] and len(said) == 1
    database.close()


def test_encoding_is_pinned(db, monkeypatch):
    monkeypatch.setenv('PGCLIENTENCODING', 'SQL_ASCII')
    database = Database('test', print, 1)
    assert database.execute('SELECT %s', ['☂ 🎉']) == [('☂ 🎉',)]
    database.close()


def test_waits_end_when_patience_does(monkeypatch, tmp_path):
    monkeypatch.setenv('PGHOST', str(tmp_path))
    said = []
    try:
        Database('test', said.append, 0.3).execute('SELECT 1', [])
    except psycopg.OperationalError:
        assert said and all('trying again in' in line for line in said)
    else:
        raise AssertionError('there is no server')
