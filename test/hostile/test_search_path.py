"""A role with objects of its own in front of pg_catalog changes nothing: no function, trigger, policy or view of the extension looks
anything up by search_path.

The traps (traps.sql) have the names and types of all that could be looked up. A trap that is touched says so, and fails. Each
statement has to come to the same with the traps in its way as without.
"""

import re
from contextlib import contextmanager
from pathlib import Path

import pytest

from calls import statement, values_for
from conftest import KINDS, connect, functions_of, make_workspace, outcome, role

PATH = 'hostile_traps, pg_temp, pg_catalog, session_files'
FIXED = 'search_path=pg_catalog, pg_temp'
TEMPORARY = ['files', 'upload_sessions', 'workspaces', 'file_queue', 'file_counts', 'workspace_grants', 'pg_roles', 'pg_class']

# Writes and reads of every kind, in which nothing is to be looked up but what the extension itself looks up: triggers, defaults, checks,
# index expressions, foreign keys, policies, views.
STATEMENTS = [
    'INSERT INTO session_files.workspaces VALUES (%(new)s)',
    'INSERT INTO session_files.upload_sessions (workspace_name) VALUES (%(name)s)',
    'INSERT INTO session_files.files (session_id, name) VALUES (%(session)s, %(new)s), (%(session)s, %(long)s)',
    'INSERT INTO session_files.files (session_id, name) VALUES (%(session)s, %(new)s) ON CONFLICT DO NOTHING',
    'INSERT INTO session_files.files (session_id, file_ingestion_id, name) VALUES (%(session)s, %(bad_id)s, %(new)s)',
    "INSERT INTO session_files.files (session_id, name) VALUES (%(session)s, '')",
    "INSERT INTO session_files.files (session_id, ingestion_status, name) VALUES (%(session)s, 'FAILED', 'x')",
    "UPDATE session_files.files SET ingestion_status = 'FINISHED', ingestion_status_reason = NULL WHERE session_id OPERATOR(pg_catalog.=) %(session)s",
    "UPDATE session_files.files SET ingestion_status = 'PENDING', ingestion_status_reason = NULL WHERE session_id OPERATOR(pg_catalog.=) %(session)s",
    'UPDATE session_files.files SET name = pg_catalog.concat(name, %(new)s::pg_catalog.text) WHERE session_id OPERATOR(pg_catalog.=) %(session)s',
    'DELETE FROM session_files.files WHERE session_id OPERATOR(pg_catalog.=) %(session)s',
    'WITH gone AS (DELETE FROM session_files.files WHERE session_id OPERATOR(pg_catalog.=) %(session)s RETURNING session_id, file_ingestion_id, name)'
    ' INSERT INTO session_files.files (session_id, file_ingestion_id, name) SELECT session_id, file_ingestion_id, name FROM gone',
    "UPDATE session_files.upload_sessions SET status = 'CLOSED' WHERE session_id OPERATOR(pg_catalog.=) %(session)s",
    'DELETE FROM session_files.upload_sessions WHERE session_id OPERATOR(pg_catalog.=) %(session)s',
    'UPDATE session_files.workspaces SET name = %(new)s WHERE name OPERATOR(pg_catalog.=) %(name)s',
    'DELETE FROM session_files.workspaces WHERE name OPERATOR(pg_catalog.=) %(name)s',
    'DELETE FROM session_files.file_queue WHERE session_id OPERATOR(pg_catalog.=) %(session)s',
    "INSERT INTO session_files.file_queue (session_id, workspace_name, due_at, file_ingestion_ids, generation) VALUES (%(session)s, 'a', '2020-01-01', '{}', 0)",
    "INSERT INTO session_files.file_queue (session_id, workspace_name, due_at, file_ingestion_ids, generation) VALUES (%(session)s, 'a', '2020-01-01', %(files)s, 0)",
    'UPDATE session_files.file_queue SET worker = NULL WHERE session_id OPERATOR(pg_catalog.=) %(session)s',
    "INSERT INTO session_files.workspace_grants (role, workspace_name, kind) VALUES ('hostile_ungranted', %(name)s, 'worker')",
    'DELETE FROM session_files.workspace_grants WHERE workspace_name OPERATOR(pg_catalog.=) %(name)s',
    'SELECT total, pending, claimed, delayed, failed_by_reason FROM session_files.session_progress',
    'SELECT worker, files, attempt FROM session_files.leases',
    'SELECT * FROM session_files.workers',
    'SELECT name FROM session_files.files',
    'SELECT * FROM session_files.file_counts',
    'TABLE session_files.workspace_grants',
    'TRUNCATE session_files.files',
    'TRUNCATE session_files.workspaces CASCADE',
    'TRUNCATE session_files.workspace_grants',
    'ANALYZE session_files.files',
    'REINDEX TABLE session_files.files',
    'CLUSTER session_files.files USING files_name_idx',
    'ALTER TABLE session_files.files VALIDATE CONSTRAINT files_session_id_fkey',
    "SELECT session_files_api.handle_request(%(target)s)",
    'DROP EXTENSION session_files CASCADE',
]

# Functions on ways that one call does not go: (what comes before, the call).
SEQUENCES = [
    ("SELECT session_files.fail_files(%(session)s, %(leased)s, 'EMPTY_FILE')", 'SELECT session_files.retry_failed(%(session)s, %(reasons)s)'),
    ("UPDATE session_files.upload_sessions SET created_at = '2020-01-01', expires_at = '2020-01-02'", 'SELECT * FROM session_files.maintain()'),
    ("SET session_files.session_retention = '1h'; UPDATE session_files.files SET ingestion_status = 'FINISHED', ingestion_status_reason = NULL, error = NULL;"
     " UPDATE session_files.upload_sessions SET created_at = '2020-01-01', expires_at = '2020-01-02', status = 'EXPIRED'",
     'SELECT * FROM session_files.maintain()'),
    ("UPDATE session_files.file_queue SET due_at = '2020-01-01'", "SELECT name, attempt FROM session_files.claim_files('me', 1)"),
    ("UPDATE session_files.file_queue SET due_at = '2020-01-01', attempt = 5", "SELECT name, attempt FROM session_files.claim_files('me', 10)"),
    (None, "SELECT ingestion_status, changed FROM session_files.fail_files(%(session)s, %(leased)s, 'SLOWDOWN', %(token)s)"),
    (None, "SELECT ingestion_status, changed FROM session_files.finish_files(%(session)s, %(files)s, %(token)s)"),
    (None, 'SELECT session_files.create_session(%(name)s, expires_in => %(interval)s) IS NULL'),
    (None, 'SELECT name, ingestion_status FROM session_files.register_files(%(session)s, %(some)s)'),
    (None, 'SELECT name, ingestion_status FROM session_files.register_files(%(session)s, %(some)s, types => %(some)s, locations => %(some)s)'),
    (None, "SELECT session_files.register_files(%(session)s, %(some)s, '{1,-1,2}')"),
    (None, 'SELECT session_files.create_workspace(%(new)s)'),
    (None, "SELECT session_files.grant_workspace('hostile_ungranted', %(name)s)"),
    (None, "SELECT session_files.revoke_workspace('hostile_mighty', %(name)s)"),
    (None, 'SELECT session_files.create_workspace(%(name)s)'),
    (None, "SELECT session_files.get_session_files(%(name)s, %(session)s, 'PENDING', field => 'name')"),
]


@pytest.fixture(scope='module')
def ours(db):
    """A workspace for these tests alone, which the roles see."""
    workspace = make_workspace(db, 'search_path', 'path')
    for kind in KINDS:
        db.execute('SELECT session_files.grant_workspace(%s, %s, %s)', [role('mighty'), workspace.name, kind])
    return workspace


@pytest.fixture(scope='module')
def traps(database, db, ours):
    db.execute('CREATE SCHEMA hostile_traps AUTHORIZATION hostile_intruder; GRANT USAGE ON SCHEMA hostile_traps TO PUBLIC')
    with connect(database, user=role('intruder')) as intruder:
        intruder.execute(Path(__file__).with_name('traps.sql').read_text())


@contextmanager
def trapped(database, user):
    """A connection in whose way the traps are, temporary ones too."""
    with connect(database, user=user) as connection:
        for table in TEMPORARY:
            connection.execute(f"CREATE TEMP VIEW {table} AS SELECT hostile_traps.spring('temporary {table}') AS name")
        for kind in ['uuid', 'text', 'regrole', 'ingestion_status']:
            connection.execute(f"CREATE DOMAIN pg_temp.{kind} AS pg_catalog.text CHECK (hostile_traps.spring('temporary {kind}'))")
        connection.execute("SELECT pg_catalog.set_config('request.headers', '{\"x-request-method\": \"GET\"}', false)")
        connection.execute(f'SET search_path = {PATH}')
        yield connection


def parameters(ours):
    text = {'new': 'new', 'long': 'x' * 900, 'name': ours.name, 'session': str(ours.session), 'token': str(ours.token),
            'bad_id': '00000000-0000-4000-8000-000000000000', 'interval': '1 hour', 'reasons': '{EMPTY_FILE}', 'some': '{"path failed",b,c}'}
    return text | {'files': '{' + ','.join(map(str, ours.files)) + '}', 'leased': '{%s}' % ours.files[2],
                   'target': f'/api/v1/workspaces/{ours.name}/upload_sessions/{ours.session}/files'.encode()}


def calls(db, ours):
    """Gives all that is done with the traps in the way: (what comes before, the call, its arguments)."""
    for function in functions_of(db).values():
        values = values_for(function, ours)
        yield None, statement(function, len(values)), values
        yield None, statement(function, function.required), values[:function.required]
    for query in STATEMENTS:
        yield None, query, parameters(ours)
    for before, query in SEQUENCES:
        yield before, query, parameters(ours)


def come_to(connection, before, query, values):
    """Does a call and undoes it; gives what it came to, without what differs from call to call."""
    with connection.transaction(force_rollback=True):
        if before:
            for part in before.split('; '):
                path = connection.execute('SHOW search_path').fetchone()[0]
                connection.execute('SET search_path = pg_catalog')
                connection.execute(part, values if '%' in part else None)
                connection.execute(f'SET search_path = {path}')
        result = outcome(connection, query, values)
    kind, rows, notices = result
    if kind == 'error':
        # PostgreSQL names the domain in its message with its schema unless the path leads there.
        rows = [rows[0], rows[1].replace('for domain session_files.', 'for domain ')]
    else:
        rows = len(rows) if isinstance(rows, list) else rows
    return kind, rows, [notice for notice in notices if 'sprung' in str(notice)]


@pytest.mark.parametrize('user', ['intruder', 'mighty', 'postgres'])
def test_traps(database, db, ours, traps, user):
    user = None if user == 'postgres' else role(user)
    done = 0
    with connect(database, user=user) as free, trapped(database, user) as caught:
        free.execute("SELECT set_config('request.headers', '{\"x-request-method\": \"GET\"}', false)")
        for call in calls(db, ours):
            expected = come_to(free, *call)
            # Of a session for which a definition is not visible, the text of an error has the schema.
            assert come_to(caught, *call) == expected, call
            done += expected[0] == 'done'
    assert done > (90 if user is None else 60)


def test_create_extension(database, traps):
    """The install script under a superuser with the traps in the way."""
    with trapped(database, None) as db, db.transaction(force_rollback=True):
        assert outcome(db, 'CREATE EXTENSION session_files')[1][0] == '42710'
        db.execute('DROP EXTENSION session_files CASCADE')
        result = outcome(db, 'CREATE EXTENSION session_files')
        assert result[0] == 'done' and result[2] == []


def test_copy(database, ours, traps):
    with trapped(database, None) as db, db.transaction(force_rollback=True):
        with db.cursor().copy('COPY session_files.files (session_id, name) FROM STDIN') as lines:
            for name in ['copied', 'x' * 900]:
                lines.write_row([str(ours.session), name])
        with db.cursor().copy('COPY session_files.files TO STDOUT') as lines:
            assert len(list(lines)) >= 7


def test_merging_counts(database, db, ours, traps):
    """The statements that merge a session's counts, of which there are many after many transactions at a time."""
    slots = 'SELECT count(*) FROM session_files.file_counts WHERE session_id = %s'
    [[session]] = db.execute('SELECT session_files.create_session(%s)', [ours.name])
    db.execute('SELECT session_files.register_files(%s, ARRAY(SELECT i::text FROM generate_series(1, 40) AS i))', [session])
    db.execute('''INSERT INTO session_files.file_counts (session_id, slot, failed, finished, pending, digest)
        SELECT %s, i, 0, 1 - 2 * (i %% 2), 0, i / 2 FROM generate_series(2, 41) AS i''', [session])
    assert db.execute(slots, [session]).fetchone()[0] > 32
    with trapped(database, role('intruder')) as intruder:
        intruder.execute('INSERT INTO session_files.files (session_id, name) VALUES (%s, %s)', [session, 'last'])
        intruder.execute("UPDATE session_files.files SET ingestion_status = 'FINISHED' WHERE session_id OPERATOR(pg_catalog.=) %s", [session])
    assert db.execute(slots, [session]).fetchone()[0] == 1
    [[finished]] = db.execute('SELECT finished FROM session_files.file_counts WHERE session_id = %s', [session])
    assert finished == 41


@pytest.mark.parametrize('query', [
    'SELECT now()', "SELECT 'a'::text", 'SELECT 1 + 1', 'SELECT sum(1)', 'SELECT * FROM files', 'SELECT * FROM pg_roles',
    'SELECT * FROM session_files.files AS f WHERE f.session_id = f.session_id', "SELECT cardinality('{a}'::pg_catalog.text[])",
    "SELECT 'FAILED'::ingestion_status", 'SELECT FROM session_files.files AS f WHERE f.session_id IN (SELECT g.session_id FROM session_files.files AS g)',
])
def test_traps_work(database, traps, query):
    with trapped(database, role('intruder')) as intruder:
        kind, diagnostics, notices = outcome(intruder, query)
        assert 'sprung' in str(notices) or 'TRAP0' in str(diagnostics), diagnostics


def test_traps_are_in_the_way(database, db, ours, traps):
    """For each function that is not in C: with the caller's search_path it would run into a trap, in one call or another."""
    names = [name for name, in db.execute('''SELECT p.proname FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
        WHERE p.pronamespace = 'session_files'::regnamespace AND l.lanname <> 'c' AND p.prorettype <> 'trigger'::regtype ORDER BY 1''')]
    assert len(names) > 12
    with trapped(database, None) as caught:
        expected = [(call, come_to(caught, *call)) for call in calls(db, ours)]
        for name in names:
            with caught.transaction(force_rollback=True):
                caught.execute(f'ALTER FUNCTION session_files.{name} SET search_path = {PATH}')
                assert any(come_to(caught, *call) != result for call, result in expected), name


def test_catalog(db):
    """No function runs with the rights of its owner. One that is not in C has its search_path fixed, or no role can call it: it is called as the owner,
    under a fixed one."""
    functions = db.execute('''
        SELECT p.oid::regprocedure::text, l.lanname, p.prosecdef, coalesce(p.proconfig, '{}'),
            has_function_privilege('public', p.oid, 'EXECUTE') OR p.prorettype = 'trigger'::regtype
        FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
        WHERE p.pronamespace IN ('session_files'::regnamespace, 'session_files_api'::regnamespace)''').fetchall()
    assert len(functions) > 30
    assert [name for name, *_ in functions if name.startswith('session_files_api.')]
    assert [name for name, _, definer, _, _ in functions if definer] == []
    assert {language for _, language, *_ in functions} == {'c', 'plpgsql', 'sql'}
    assert [name for name, language, _, config, is_reached in functions if language != 'c' and is_reached and FIXED not in config] == []


ADD_TO_SCHEMA = {
    'an owner': 'ALTER SCHEMA session_files OWNER TO hostile_intruder',
    'a grant': 'GRANT CREATE ON SCHEMA session_files TO hostile_intruder',
    'a grant to all': 'GRANT CREATE ON SCHEMA session_files TO PUBLIC',
    'a function': 'CREATE FUNCTION session_files.cardinality(uuid[]) RETURNS integer LANGUAGE sql RETURN 1',
    'a table': 'CREATE TABLE session_files.workspaces (name text)',
    'a type': "CREATE TYPE session_files.write_mode AS ENUM ('KEEP')",
    'an operator': 'CREATE OPERATOR session_files.= (FUNCTION = pg_catalog.texteq, LEFTARG = text, RIGHTARG = text)',
}


@pytest.mark.parametrize('kind', list(ADD_TO_SCHEMA))
def test_schema_of_others(database, kind):
    """CREATE EXTENSION takes over no schema in which another role has, or may put, something that its functions would find."""
    with connect(database) as db, db.transaction(force_rollback=True):
        db.execute('DROP EXTENSION session_files CASCADE')
        db.execute(ADD_TO_SCHEMA[kind])
        result = outcome(db, 'CREATE EXTENSION session_files')
        assert (result[0], result[1][0]) == ('error', '55000')
        assert re.match('the schema session_files is there already, and ', result[1][1])


def test_schema_of_superusers(database):
    """One that an earlier CREATE EXTENSION, or a restored dump, has left is taken."""
    with connect(database) as db, db.transaction(force_rollback=True):
        db.execute('DROP EXTENSION session_files CASCADE')
        db.execute('CREATE EXTENSION session_files')
        db.execute('DROP EXTENSION session_files CASCADE; DROP SCHEMA session_files')
        db.execute('CREATE EXTENSION session_files')
