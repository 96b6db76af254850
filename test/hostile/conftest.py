"""For each file of tests a database with the extension, the roles that the grants of docs/privileges.md make, and two workspaces: one that is theirs, one
that is a secret.

Needs a server with the extension installed, reached by the usual PG* variables, a superuser's right there, and in HOSTILE_LOG the
path of its log.
"""

import os
import re
import uuid
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
from psycopg import sql
from psycopg.types.string import TextLoader

ROOT = Path(__file__).resolve().parents[2]
PRIVILEGES = (ROOT / 'docs/privileges.md').read_text()
KINDS = ['lister', 'uploader', 'worker', 'watcher', 'keeper']
# Further roles: may do all, in its workspace; the same, with a schema full of traps; is granted the secret workspace; may do nothing.
ROLES = [*KINDS, 'mighty', 'intruder', 'stranger', 'ungranted']
FATAL = re.compile(r'PANIC|FATAL|terminated by signal|TRAP: ')

# What the workspaces of the fixture hold. In the secret one each text has the word SECRET in it, whatever it is printed with.
SECRET = 'zqsecret'


def role(kind):
    """Gives the name that a kind of role has here."""
    return f'hostile_{kind}'


def documented_grants():
    """Gives the statements of the block of grants in docs/privileges.md, for the roles of this suite."""
    block = PRIVILEGES[PRIVILEGES.index('GRANT USAGE ON SCHEMA session_files TO lister'):].partition('\n```')[0]
    script = re.sub(r'--.*', '', block)
    script = re.sub(rf"\b({'|'.join(KINDS)})\b(?!_)", lambda match: role(match[1]), script)
    statements = [statement.strip() for statement in script.split(';') if statement.strip()]
    assert len(statements) > 10, statements
    return statements


def connect(database, **options):
    connection = psycopg.connect(dbname=database, autocommit=True, client_encoding='UTF8', **options)
    # Times as text: Python's end with the year 9999.
    for kind in ['timestamptz', 'interval']:
        connection.adapters.register_loader(kind, TextLoader)
    return connection


def make_workspace(db, name, mark):
    """Makes a workspace with a session of files of every kind, one of them under a lease, and one deleted; gives what they are called."""
    db.execute('SELECT session_files.create_workspace(%s)', [name])
    [[session]] = db.execute('SELECT session_files.create_session(%s)', [name])
    names = [f'{mark} finished', f'{mark} failed', f'{mark} leased', f'{mark} delayed', f'{mark} pending']
    files = [row[0] for row in db.execute('SELECT * FROM session_files.register_files(%s, %s)', [session, names])]
    tokens = [row[0] for row in db.execute(
        'SELECT lease_token FROM session_files.claim_files(%s, 4, workspace_name => %s)', [f'{mark} worker', name])]
    db.execute('SELECT session_files.finish_files(%s, %s, %s)', [session, files[:1], tokens[0]])
    db.execute("SELECT session_files.fail_files(%s, %s, 'EMPTY_FILE', %s)", [session, files[1:2], tokens[0]])
    db.execute("SELECT session_files.fail_files(%s, %s, 'SLOWDOWN', %s)", [session, files[3:4], tokens[0]])
    db.execute("INSERT INTO session_files.files (session_id, name) VALUES (%s, 'deleted')", [session])
    db.execute("DELETE FROM session_files.files WHERE session_id = %s AND name = 'deleted'", [session])
    return SimpleNamespace(name=name, session=session, files=files, names=names, token=tokens[0], worker=f'{mark} worker')


def near(identifier):
    """Gives a UUID that is not there: of the same time, with another end."""
    return uuid.UUID(int=identifier.int ^ 0xA5A5)


def missing_twin(workspace):
    """Gives names and ids that are nowhere, and look as those of a workspace."""
    return SimpleNamespace(name=workspace.name[:-1] + '!', session=near(workspace.session), files=[near(file) for file in workspace.files],
                           names=[name + '!' for name in workspace.names], token=near(workspace.token), worker=workspace.worker + '!')


def state_of(db, workspace):
    """Gives all rows of a workspace, as a superuser sees them."""
    tables = ['files', 'file_counts', 'file_queue']
    rows = [db.execute(sql.SQL('SELECT t::text FROM session_files.{} AS t WHERE session_id = %s ORDER BY 1').format(sql.Identifier(table)),
                       [workspace.session]).fetchall() for table in tables]
    rows += [db.execute(sql.SQL('SELECT t::text FROM session_files.{} AS t WHERE {} = %s ORDER BY 1').format(
        sql.Identifier(table), sql.Identifier(column)), [workspace.name]).fetchall()
             for table, column in [('workspaces', 'name'), ('upload_sessions', 'workspace_name'), ('workspace_grants', 'workspace_name')]]
    return rows


def objects_of(db):
    """Gives what there is in the schema, and what roles can do with it."""
    return db.execute('''
        SELECT 'class', oid::regclass::text, relacl::text FROM pg_class WHERE relnamespace = 'session_files'::regnamespace
        UNION ALL SELECT 'proc', oid::regprocedure::text, proacl::text || prosrc || coalesce(proconfig::text, '')
            FROM pg_proc WHERE pronamespace = 'session_files'::regnamespace
        UNION ALL SELECT 'role', rolname, rolsuper::text || rolbypassrls::text FROM pg_roles ORDER BY 1, 2, 3''').fetchall()


def functions_of(db):
    """Gives the functions of the schema but for those of triggers: name, arguments as (name, type), and how many have no default."""
    rows = db.execute('''
        SELECT p.proname,
            (SELECT coalesce(array_agg(coalesce(p.proargnames[i], '') ORDER BY i), '{}') FROM generate_series(1, p.pronargs) AS i),
            (SELECT coalesce(array_agg(format_type(t, NULL) ORDER BY i), '{}') FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, i)),
            p.pronargs - p.pronargdefaults
        FROM pg_proc AS p
        WHERE p.pronamespace = 'session_files'::regnamespace AND p.prorettype <> 'trigger'::regtype AND p.prokind = 'f'
        ORDER BY 1''').fetchall()
    functions = {name: SimpleNamespace(name=name, arguments=list(zip(names, types)), required=required)
                 for name, names, types, required in rows}
    assert len(functions) == len(rows) > 20, 'overloaded functions: tell them apart here'
    return functions


def script(path):
    """Gives the statements of a script for psql, without its own commands."""
    text = re.sub(r'--.*', '', (ROOT / path).read_text())
    text = re.sub(r'(?m)^\\set .*$', '', text)
    # What \gexec runs is made by a query; here a DO block does.
    return re.sub(r"SELECT '([^']*)'\s*WHERE NOT EXISTS (\(.*?\))\s*\\gexec",
                  r'DO $do$ BEGIN IF NOT EXISTS \2 THEN \1; END IF; END $do$;', text, flags=re.S)


@pytest.fixture(scope='session')
def log():
    """The server's log since the suite began: a function that gives the lines of processes that ended badly."""
    path = Path(os.environ['HOSTILE_LOG'])
    start = path.stat().st_size

    def bad_lines():
        with path.open(errors='replace') as file:
            file.seek(start)
            return [line for line in file if FATAL.search(line)]
    return bad_lines


@pytest.fixture(scope='module')
def database(log):
    name = f'session_files_hostile_{uuid.uuid4().hex}'
    with psycopg.connect(autocommit=True) as admin:
        existing = {row[0] for row in admin.execute('SELECT rolname FROM pg_roles')}
        made = [r for r in ['session_files_authenticator', 'session_files_anonymous'] if r not in existing]
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(name)))
        try:
            for kind in ROLES:
                admin.execute(sql.SQL('CREATE ROLE {} LOGIN').format(sql.Identifier(role(kind))))
            with connect(name) as db:
                db.execute('CREATE EXTENSION session_files')
                db.execute(script('http/roles.sql'))
                db.execute(script('postgrest/api.sql'))
                grant(db)
            yield name
            assert log() == []
        finally:
            admin.execute(sql.SQL('DROP DATABASE {} WITH (FORCE)').format(sql.Identifier(name)))
            for each in [*map(role, ROLES), *made]:
                admin.execute(sql.SQL('DROP ROLE IF EXISTS {}').format(sql.Identifier(each)))


def grant(db):
    for statement in documented_grants():
        if statement.startswith('GRANT'):
            db.execute(statement)
    mighty = sql.Identifier(role('mighty'))
    for privilege in ['USAGE ON SCHEMA', 'SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA', 'EXECUTE ON ALL FUNCTIONS IN SCHEMA']:
        db.execute(sql.SQL(f'GRANT {privilege} session_files TO {{}}').format(mighty))
    db.execute(sql.SQL('GRANT {} TO {}').format(mighty, sql.Identifier(role('intruder'))))
    db.execute(sql.SQL('CREATE SCHEMA hostile_own AUTHORIZATION {}').format(mighty))


@pytest.fixture(scope='module')
def db(database):
    """A superuser's connection."""
    with connect(database) as connection:
        yield connection


@pytest.fixture(scope='module')
def workspaces(db):
    """The workspace of the roles, the secret one, and what is in neither."""
    mine = make_workspace(db, 'research', 'mine')
    secret = make_workspace(db, f'{SECRET} workspace', SECRET)
    for kind in [*KINDS, 'mighty']:
        db.execute('SELECT session_files.grant_workspace(%s, %s)', [role(kind), mine.name])
    db.execute("SELECT session_files.grant_workspace('session_files_anonymous', %s)", [mine.name])
    db.execute('SELECT session_files.grant_workspace(%s, %s)', [role('stranger'), secret.name])
    return SimpleNamespace(mine=mine, secret=secret, missing=missing_twin(secret))


def outcome(connection, query, parameters=None):
    """Runs a statement in a savepoint of its own; gives all that its caller can learn: rows, or every field of the error; and notices."""
    notices = []

    def keep(notice):
        notices.append(tuple(fields(notice)))
    connection.add_notice_handler(keep)
    try:
        with connection.transaction(force_rollback=True):
            cursor = connection.execute(query, parameters)
            rows = cursor.fetchall() if cursor.description else cursor.rowcount
            return ('done', rows, notices)
    except psycopg.Error as error:
        return ('error', fields(error.diag), notices)
    finally:
        connection.remove_notice_handler(keep)


def fields(diagnostics):
    return [getattr(diagnostics, name) for name in (
        'sqlstate', 'message_primary', 'message_detail', 'message_hint', 'context', 'schema_name', 'table_name', 'column_name',
        'constraint_name', 'datatype_name', 'internal_query')]
