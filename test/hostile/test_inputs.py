"""Hostile input at every argument of every function: what comes back is right, or one of the errors that are documented; and nothing else
has changed.

Functions and their arguments are those of the catalog. HOSTILE_SEED replays the random calls (the seed is printed; ids that the server
makes differ all the same), HOSTILE_CALLS says how many there are.
"""

import json
import os
import random
import re
from functools import lru_cache
from urllib.parse import quote

import psycopg
import pytest
from psycopg import pq, sql

from calls import BY_NAME, BY_TYPE, literal, statement, target, values_for
from conftest import KINDS, ROOT, connect, functions_of, make_workspace, objects_of, outcome, role, state_of
from inputs import BYTES, IDS, LONG, NUL, STRINGS, TYPES

SEED = os.environ.get('HOSTILE_SEED') or str(random.SystemRandom().randrange(10**9))
CALLS = int(os.environ.get('HOSTILE_CALLS') or 20000)

# What policies, defaults and indexes call is in no table of the documents.
INTERNAL = {'_default_expiry': set(), '_has_kind': {'22004'}, '_may_see_session': set(), '_may_see_workspace': set(), '_name_key': set()}
# What a function has in common with another, in the documents' words.
SAME_AS = {'fail_files': 'finish_files', 'list_session_files': 'get_session_files'}
# For all workspaces, or the administrator: a role with grants of some gets as far as 42501, so a superuser calls them.
OF_ALL = {'check', 'create_workspace', 'grant_workspace', 'maintain', 'repair', 'revoke_workspace'}


@lru_cache
def documented():
    """Reads the documents' tables of functions: a dict of the SQLSTATEs that each raises."""
    text = '\n'.join(path.read_text() for path in sorted(ROOT.glob('docs/*.md')))
    codes = {}
    for table in text.split('| function | does | errors (SQLSTATE) |')[1:]:
        for line in table.split('\n\n')[0].splitlines()[2:]:
            cells = line.strip('|').split('|')
            for name in re.findall(r'`(\w+)\(', cells[0]):
                assert name not in codes, f'{name} is documented twice'
                codes[name] = set(re.findall(r'\b(?:\d[0-9A-Z]{4}|P0\d{3})\b', cells[-1]))
    assert len(codes) > 15
    for name, other in SAME_AS.items():
        codes[name] |= codes[other]
    return codes


def allowed(name):
    """Gives what a function may raise; one that is neither documented nor in INTERNAL is a failure."""
    codes = documented()
    assert (name in codes) != (name in INTERNAL), f'{name}: documented, or else internal'
    return codes[name] if name in codes else INTERNAL[name]


class Types:
    """What the types make of values on their own, before any function sees them."""

    def __init__(self, db):
        self.db = db
        self.known = {}

    def error(self, value, kind):
        if value is None:
            return None
        if (value, kind) not in self.known:
            result = outcome(self.db, f'SELECT %s::{kind}', [value])
            self.known[value, kind] = result[1][0] if result[0] == 'error' else None
        return self.known[value, kind]


@pytest.fixture(scope='module')
def types(db):
    return Types(db)


def check(function, values, result, types):
    """Compares what a call came to with what it may come to."""
    wrong = {types.error(value, kind) for value, (_, kind) in zip(values, function.arguments)} - {None}
    what = (function.name, [value if value is None else value[:200] for value in values], result)
    if wrong:
        assert result[0] == 'error' and result[1][0] in wrong, what
    elif result[0] == 'error':
        assert result[1][0] in allowed(function.name), what
    return result[0]


def test_functions_and_types(db):
    """A new function, a parameter of another type, or a new error has to be added here."""
    functions = functions_of(db)
    assert set(documented()) | set(INTERNAL) == set(functions)
    for function in functions.values():
        for name, kind in function.arguments:
            assert kind in TYPES, (function.name, name, kind)
            assert name in BY_NAME or kind in BY_TYPE, (function.name, name, kind)


def test_each_argument(db, workspaces, types):
    """Every value for every argument, the others as they should be; then NULL. All is undone, but looked at before."""
    ends = {'done': 0, 'error': 0}
    secret, things = state_of(db, workspaces.secret), objects_of(db)
    pid = db.info.backend_pid
    for function in functions_of(db).values():
        good = values_for(function, workspaces.mine)
        for i, (_, kind) in enumerate(function.arguments):
            for value in [None, *TYPES[kind]]:
                values = good[:i] + [value] + good[i + 1:]
                with db.transaction(force_rollback=True):
                    if function.name not in OF_ALL:
                        db.execute('SET LOCAL ROLE hostile_mighty')
                    cursor = None
                    try:
                        with db.transaction():
                            cursor = db.execute(statement(function, len(values)), values)
                        result = 'done', cursor.fetchall()
                    except psycopg.Error as error:
                        result = 'error', [error.sqlstate, str(error)]
                    db.execute('RESET ROLE')
                    ends[check(function, values, result, types)] += 1
                    if result[0] == 'done' and function.name not in OF_ALL:
                        assert state_of(db, workspaces.secret) == secret, (function.name, values)
        assert objects_of(db) == things, function.name
    assert db.info.backend_pid == pid
    assert ends['done'] > 1000 and ends['error'] > 500, ends


def test_bytes(db, workspaces):
    """Bytes that are no text, as a client sends them who checks nothing: for each argument, as text and, with NUL, in binary."""
    raw = 0
    for function in functions_of(db).values():
        good = [value if value is None else value.encode() for value in values_for(function, workspaces.mine)]
        query = statement(function, len(good)).as_string(db)
        for number in range(len(good)):
            query = query.replace('%s', f'${number + 1}', 1)
        for i, (_, kind) in enumerate(function.arguments):
            for value in BYTES + (NUL if kind == 'text' else []):
                formats = [pq.Format.TEXT] * len(good)
                oids = [0] * len(good)
                if value in NUL:
                    formats[i], oids[i] = pq.Format.BINARY, 25
                result = db.pgconn.exec_params(query.encode(), good[:i] + [value] + good[i + 1:], oids, formats)
                assert result.error_field(pq.DiagnosticField.SQLSTATE) == b'22021', (function.name, value)
                raw += 1
    assert raw > 500
    assert db.execute('SELECT 1').fetchone() == (1,)


# ---- what went in comes out

VALID = [string for string in STRINGS if len(string) <= 600]


def test_names_come_back(db, types):
    """All names at once in a session whose workspace has such a name; by SQL, in the listing, over HTTP, to a worker, and in errors."""
    with db.transaction(force_rollback=True):
        for workspace in VALID:
            db.execute('SELECT session_files.create_workspace(%s)', [workspace])
            [[session]] = db.execute('SELECT session_files.create_session(%s)', [workspace])
            assert db.execute('SELECT workspace_name FROM session_files.upload_sessions WHERE session_id = %s', [session]).fetchall() == [(workspace,)]
            answer = db.execute("SELECT status, body FROM session_files.handle_request('GET', %s)", [target(workspace, session)]).fetchone()
            assert answer == (200, '{"data":[],"has_more":false,"total":0}'), workspace
            kind, diagnostics, _ = outcome(db, 'SELECT session_files.create_workspace(%s)', [workspace])
            assert diagnostics[:2] == ['23505', f'workspace "{workspace}" already exists']
            kind, diagnostics, _ = outcome(db, 'SELECT session_files.get_session_files(%s, %s)', [workspace, IDS[0]])
            assert diagnostics[:2] == ['P0002', f'there is no session "{IDS[0]}" in the workspace "{workspace}"']
            json.loads(diagnostics[2])
        names = [string for string in STRINGS + LONG]
        locations, metadata = [name[:2048] for name in names], [json.dumps({name: name}) for name in names]
        rows = db.execute('SELECT name, ingestion_status::text FROM session_files.register_files(%s, %s, locations => %s, metadata => %s::jsonb[])',
                          [session, names, locations, metadata]).fetchall()
        assert rows == [(name, 'FAILED' if len(name) > 800 else 'PENDING') for name in names]
        assert {row for row, in db.execute('SELECT name FROM session_files.files WHERE session_id = %s', [session])} == set(names)
        listed, after = [], ''
        while True:
            [[body]] = db.execute("SELECT body FROM session_files.handle_request('GET', %s)",
                                  [target(workspace, session, f'?field=name&order=ASC&limit=100{after}')])
            page = json.loads(body)
            listed += [row['name'] for row in page['data']]
            if not page['has_more']:
                break
            after = f"&after={page['data'][-1]['file_ingestion_id']}"
        assert listed == sorted(names, key=lambda name: name.encode()) and page['total'] == len(names)
        [[body]] = db.execute('SELECT session_files.get_session_files(%s, %s, "limit" => 100)::text', [workspace, session])
        assert {row['name'] for row in json.loads(body)['data']} <= set(names)
        claimed = db.execute('SELECT name, location, metadata FROM session_files.claim_files(%s, 1000, session_id => %s)', [VALID[7], session]).fetchall()
        assert {name for name, *_ in claimed} == {name for name in names if len(name) <= 800}
        assert all((location, metadata) == (name, {name: name}) for name, location, metadata in claimed)
        assert db.execute('SELECT worker, files FROM session_files.workers WHERE worker = %s', [VALID[7]]).fetchall() == [(VALID[7], len(claimed))]


def test_targets_raw(db, workspaces):
    """A workspace's name, sent as it is instead of percent-encoded, is an answer and no error."""
    for string in STRINGS + LONG:
        for text in [string, f'/api/v1/workspaces/{string}/upload_sessions/{workspaces.mine.session}/files',
                     f'/api/v1/workspaces/{quote(workspaces.mine.name)}/upload_sessions/{string}/files', target(workspaces.mine.name, workspaces.mine.session, f'?field={string}'),
                     target(workspaces.mine.name, workspaces.mine.session, f'?{string}'), target(workspaces.mine.name, workspaces.mine.session, f'?limit={string}')]:
            [[status, headers, body]] = db.execute("SELECT status, headers::text, body FROM session_files.handle_request('GET', %s)", [text])
            assert status in (200, 404, 405, 422), text
            json.loads(headers), json.loads(body)
            assert all('\r' not in value and '\n' not in value for header in json.loads(headers) for value in header.values()), text


ROLE_NAMES = ['a b', 'A', 'ü', "it's", 'say "hi"', '"', "'; DROP ROLE postgres; --", '$1', '%s', '\\', 'select', 'current_user', 'a.b', '\u202ex', 'x' * 63, '123', '-x', ' ', '\n']


@pytest.mark.parametrize('name', ROLE_NAMES)
def test_role_names(database, workspaces, name):
    """Roles whose names have to be quoted: grants hold for them, and end."""
    with connect(database) as db, db.transaction(force_rollback=True):
        quoted = sql.Identifier(name)
        db.execute(sql.SQL('CREATE ROLE {0}; GRANT hostile_lister TO {0}; ALTER ROLE {0} INHERIT').format(quoted))
        db.execute(sql.SQL('REVOKE hostile_lister FROM {0}').format(quoted))
        [[text]] = db.execute('SELECT quote_ident(%s)', [name])
        page = 'SELECT session_files.get_session_files(%s, %s)'
        workspace = [workspaces.mine.name, workspaces.mine.session]
        for call, expected in [('SELECT session_files.grant_workspace(%s, %s)', 'done'), ('SELECT session_files.revoke_workspace(%s, %s)', 'error')]:
            db.execute(call, [text, workspaces.mine.name])
            assert [row for row, in db.execute('SELECT role::text FROM session_files.workspace_grants WHERE role = %s::regrole', [text])] == [text] * (expected == 'done')
            db.execute(sql.SQL('SET LOCAL ROLE {}').format(quoted))
            result = outcome(db, page, workspace)
            db.execute('RESET ROLE')
            assert result[0] == expected


def test_deceiving_schemas(database, workspaces):
    """Schemas with names that look like the extension's, in whose tables other files are."""
    with connect(database) as db, db.transaction(force_rollback=True):
        page = 'SELECT session_files.get_session_files(%s, %s)::text'
        before = db.execute(page, [workspaces.mine.name, workspaces.mine.session]).fetchall()
        for name in ['Session_Files', 'session_files ', 'session_files.files', '"session_files"', 'session＿files', 'ｓession_files', 'session_files\n', 'session_filеs']:
            db.execute(sql.SQL('CREATE SCHEMA {0}; CREATE TABLE {0}.files (LIKE session_files.files); CREATE VIEW {0}.upload_sessions AS SELECT 1 AS session_id;'
                               'CREATE FUNCTION {0}._locate_ids(uuid, uuid[]) RETURNS tid[] LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION $a$deceived$a$; END $$;'
                               'SELECT pg_catalog.set_config($$search_path$$, {1}, true)').format(
                                   sql.Identifier(name), sql.Literal(sql.Identifier(name).as_string(db) + ', session_files, pg_catalog')))
            assert db.execute(page, [workspaces.mine.name, workspaces.mine.session]).fetchall() == before
            assert outcome(db, 'SELECT * FROM session_files.finish_files(%s, %s)', [workspaces.mine.session, workspaces.mine.files])[0] == 'done'


# ---- settings

def test_settings(database, workspaces):
    """Hostile values of each setting: refused by SET, left out with a warning where they came before the library; never an error of a call."""
    with connect(database) as db:
        db.execute('SELECT session_files._default_expiry()')
        settings = [name for name, in db.execute("SELECT name FROM pg_settings WHERE name LIKE 'session_files.%%' AND context = 'user'")]
    assert len(settings) >= 7
    refused = 0
    for name in settings:
        values = [value for value in [*STRINGS[::5], '-1', '0', '1e9', '2147483648', '1 day', 'on', 'SLOWDOWN', 'SLOWDOWN,SLOWDOWN', '"SLOWDOWN"', ',', 'x' * 100000]]
        with connect(database, user=role('mighty')) as late:
            late.execute('SELECT session_files._default_expiry()')
            for value in values:
                result = outcome(late, 'SELECT set_config(%s, %s, false)', [name, value])
                assert result[0] == 'done' or result[1][0] == '22023', (name, value, result)
                refused += result[0] == 'error'
                check_settings(late, workspaces, (name, value))
        for value in values[::4]:
            with connect(database, user=role('mighty')) as early:
                early.execute('SELECT set_config(%s, %s, false)', [name, value])
                check_settings(early, workspaces, (name, value))
    assert refused > 50


def check_settings(db, workspaces, what):
    for query in ['SELECT session_files._default_expiry()',
                  f"SELECT session_files.create_session('{workspaces.mine.name}')",
                  f"SELECT session_files.fail_files('{workspaces.mine.session}', '{{{workspaces.mine.files[2]}}}', 'SLOWDOWN', '{workspaces.mine.token}')"]:
        result = outcome(db, query)
        assert result[0] == 'done', (what, query, result)


# ---- at random

class Caller:
    """Random calls in a workspace that lives on: what comes back from one is given to the next."""

    def __init__(self, db, rng, workspace):
        self.rng = rng
        self.workspace = workspace
        self.functions = [function for function in functions_of(db).values() if function.name not in OF_ALL]
        self.pools = {'uuid': [str(workspace.session), *map(str, workspace.files), str(workspace.token)], 'text': [workspace.name, *workspace.names]}

    def learn(self, rows):
        for row in rows[:5]:
            for value in row:
                kind = 'uuid' if type(value).__name__ == 'UUID' else 'text' if isinstance(value, str) and len(value) < 900 else None
                if kind:
                    pool = self.pools[kind]
                    pool.append(str(value))
                    if len(pool) > 60:
                        del pool[self.rng.randrange(10, len(pool))]

    def value(self, name, kind):
        rng = self.rng
        chance = rng.random()
        if chance < 0.45:
            return literal((BY_NAME.get(name) or BY_TYPE[kind])(self.workspace))
        if chance < 0.65 and kind in self.pools:
            return rng.choice(self.pools[kind])
        if chance < 0.75 and kind in ('uuid[]', 'text[]'):
            return literal([rng.choice(self.pools[kind[:-2]]) for _ in range(rng.randrange(6))])
        if chance < 0.79:
            return None
        if chance < 0.9 and kind in ('text', 'text[]'):
            text = ''.join(rng.choice([*STRINGS[:60], chr(rng.choice([rng.randrange(1, 128), rng.randrange(0xE000, 0x110000)]))]) for _ in range(rng.randrange(1, 6)))
            return text if kind == 'text' else literal([text, text[::-1], None][:rng.randrange(4)])
        return rng.choice(TYPES[kind])

    def call(self):
        function = self.rng.choice(self.functions)
        count = self.rng.choice([len(function.arguments), function.required])
        return function, [self.value(name, kind) for name, kind in function.arguments[:count]]


COUNTED = '''SELECT count(*) FROM (
    (SELECT session_id, sum(failed), sum(finished), sum(pending) FROM session_files.file_counts GROUP BY 1 HAVING sum(failed + finished + pending) > 0)
    EXCEPT (SELECT session_id, count(*) FILTER (WHERE ingestion_status = 'FAILED'), count(*) FILTER (WHERE ingestion_status = 'FINISHED'),
        count(*) FILTER (WHERE ingestion_status = 'PENDING') FROM session_files.files GROUP BY 1)) AS wrong'''


def test_random_calls(request, database, db, workspaces, types, log):
    with request.config.pluginmanager.getplugin('capturemanager').global_and_fixture_disabled():
        print(f'\nHOSTILE_SEED={SEED} HOSTILE_CALLS={CALLS}')
    rng = random.Random(SEED)
    own = make_workspace(db, f'random {SEED}', 'random')
    for kind in KINDS:
        db.execute('SELECT session_files.grant_workspace(%s, %s, %s)', [role('mighty'), own.name, kind])
    secret = state_of(db, workspaces.secret)
    caller = Caller(db, rng, own)
    ends = {'done': 0, 'error': 0}
    with connect(database, user=role('mighty')) as mighty:
        pid = mighty.info.backend_pid
        mighty.execute('SET jit = off')
        for number in range(CALLS):
            function, values = caller.call()
            try:
                # Half of them are undone.
                with mighty.transaction(force_rollback=rng.random() < 0.5):
                    rows = mighty.execute(statement(function, len(values)), values).fetchall()
                result = 'done', rows
                caller.learn(rows)
            except psycopg.Error as error:
                result = 'error', [error.sqlstate, str(error)]
            ends[check(function, values, result, types)] += 1
            if number % 500 == 0:
                if mighty.execute('SELECT count(*) FROM session_files.files').fetchone()[0] > 20000:
                    mighty.execute("DELETE FROM session_files.files WHERE session_id <> ALL (%s)", [[own.session, workspaces.mine.session]])
                assert (SEED, number, state_of(db, workspaces.secret)) == (SEED, number, secret)
                assert db.execute(COUNTED).fetchone() == (0,), SEED
        assert mighty.info.backend_pid == pid
    assert state_of(db, workspaces.secret) == secret
    assert db.execute(COUNTED).fetchone() == (0,), SEED
    assert log() == []
    assert min(ends.values()) > CALLS // 10, ends
