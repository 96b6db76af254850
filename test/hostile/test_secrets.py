"""What a role can learn of a workspace that was not granted to it: no more than of one that is not there.

The role that asks here may do everything with tables and functions (`mighty`), so that row level security alone is in the way.
"""

import random
import re
from itertools import product

import psycopg
import pytest
from psycopg import errors

from calls import statement, target, values_for
from conftest import SECRET, connect, functions_of, outcome, role, state_of

ENCODED = [SECRET, SECRET.encode().hex()]


@pytest.fixture(scope='module')
def mighty(database, workspaces):
    with connect(database, user=role('mighty')) as connection:
        for kind in ['text', 'uuid', 'bytea', 'jsonb', 'bigint']:
            # Cheap, and with no effects, they say: so that the planner would rather have them before a policy.
            connection.execute(f'''CREATE FUNCTION hostile_own.peek({kind}) RETURNS boolean LANGUAGE plpgsql STABLE COST 0.0000001
                AS $$ BEGIN RAISE NOTICE 'peek %', $1; RETURN true; END $$''')
        connection.execute('''CREATE FUNCTION hostile_own.peek(text, text) RETURNS boolean LANGUAGE plpgsql STABLE COST 0.0000001
                AS $$ BEGIN RAISE NOTICE 'peek % %', $1, $2; RETURN true; END $$;
            CREATE OPERATOR hostile_own.=== (FUNCTION = hostile_own.peek, LEFTARG = text, RIGHTARG = text, RESTRICT = eqsel);
            CREATE FUNCTION hostile_own.keep(text, text) RETURNS text LANGUAGE sql AS 'SELECT $1 || $2';
            CREATE AGGREGATE hostile_own.all_of(text) (SFUNC = hostile_own.keep, STYPE = text, INITCOND = '')''')
        yield connection


def plain(result, workspace):
    """Gives what was learned as text, with placeholders for what the asker knew before."""
    text = repr(result)
    known = [workspace.name, target(workspace.name, workspace.session), workspace.session, workspace.token, workspace.worker,
             *workspace.files, *workspace.names]
    for word in sorted(map(str, known), key=len, reverse=True):
        text = text.replace(word, '?')
    # What is made again in each call.
    text = re.sub(r'[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}', '<id>', text)
    return re.sub(r'datetime\.datetime\(.*?\)\)|\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?', '<time>', text)


def variants(function, workspaces):
    """Gives the arguments of calls as pairs: with what is secret, and with what is missing in its place; all of it, or one by one."""
    mine, secret, missing = (values_for(function, w) for w in (workspaces.mine, workspaces.secret, workspaces.missing))
    pairs = [(secret, missing), (secret[:function.required], missing[:function.required])]
    for i in range(len(mine)):
        pairs.append(tuple(mine[:i] + [other[i]] + mine[i + 1:] for other in (secret, missing)))
        pairs.append(tuple(other[:i] + [mine[i]] + other[i + 1:] for other in (secret, missing)))
    return [pair for pair in pairs if pair[0] != pair[1]]


# They tell of their arguments alone.
PURE = {'_name_key', 'uuid7_time'}


def test_functions(db, mighty, workspaces):
    asked = 0
    before = state_of(db, workspaces.secret)
    assert all(volatility == 'i' for volatility, in db.execute('''SELECT provolatile FROM pg_proc WHERE pronamespace = 'session_files'::regnamespace
        AND proname = ANY (%s)''', [list(PURE)]))
    for function in functions_of(db).values():
        if function.name in PURE:
            continue
        for secret, missing in variants(function, workspaces):
            learned = plain(outcome(mighty, statement(function, len(secret)), secret), workspaces.secret)
            assert learned == plain(outcome(mighty, statement(function, len(missing)), missing), workspaces.missing), (function.name, secret)
            assert SECRET not in learned, function.name
            asked += 1
    assert asked > 60
    assert state_of(db, workspaces.secret) == before


def test_taken(mighty, workspaces):
    """What SECURITY.md says that a role can learn which may insert: that an id is taken; without the row that has it."""
    kind, diagnostics, _ = outcome(
        mighty, "INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES (%s, 'research')", [workspaces.secret.session])
    assert (kind, diagnostics[0]) == ('error', '23505')
    assert diagnostics[2] is None, 'no "Key (...) already exists."'


# ---- HTTP

def requests(rng, workspaces, etag, count):
    """Gives random requests as pairs: for what is secret, and for what is missing."""
    secret, missing, mine = workspaces.secret, workspaces.missing, workspaces.mine
    for _ in range(count):
        place = rng.choice(['session', 'session', 'workspace', 'both', 'cursor'])
        pair = []
        query = {key: rng.choice(values) for key, values in {
            'limit': ['0', '1', '100', '101', 'x'], 'field': ['created_at', 'name', 'ingestion_status', 'nothing'],
            'order': ['ASC', 'DESC', 'asc'], 'ingestion_status': ['FAILED', 'PENDING', 'FINISHED', ''], 'page_number': ['1', '2', '0']}.items()
                 if rng.random() < 0.3}
        cursors = [key for key in ('before', 'after') if place == 'cursor' or rng.random() < 0.3]
        number = rng.randrange(5)
        method = rng.choice(['GET', 'GET', 'GET', 'HEAD', 'POST', 'DELETE'])
        header = rng.choice([None, f'"{etag}"', '*', f'W/"{etag}"', '"0000000000000000"'])
        for other in (secret, missing):
            name = other.name if place in ('workspace', 'both') else mine.name
            session = other.session if place in ('session', 'both') else mine.session
            full = query | {key: str(other.files[number]) for key in cursors}
            pair.append((method, target(name, session, '?' + '&'.join(f'{key}={value}' for key, value in full.items())), header))
        yield pair


def test_http(db, mighty, workspaces):
    rng = random.Random(1)
    ask = '''SELECT status, headers::text, body FROM session_files.handle_request(%s, %s,
        CASE WHEN %s::text IS NULL THEN '{}' ELSE json_build_object('if-none-match', %s::text) END)'''
    [[headers]] = db.execute("SELECT headers::text FROM session_files.handle_request('GET', %s)",
                             [target(workspaces.secret.name, workspaces.secret.session)])
    etag = headers.split('"ETag":"\\"')[1].split('\\"')[0]
    [[status]] = db.execute("SELECT status FROM session_files.handle_request('GET', %s, json_build_object('if-none-match', %s::text))",
                            [target(workspaces.secret.name, workspaces.secret.session), f'"{etag}"'])
    assert status == 304, 'the secret ETag'
    statuses = set()
    for secret, missing in requests(rng, workspaces, etag, 1500):
        result = outcome(mighty, ask, [*secret, secret[2]])
        learned = plain(result, workspaces.secret)
        assert learned == plain(outcome(mighty, ask, [*missing, missing[2]]), workspaces.missing), secret
        statuses.add(result[1][0][0])
        assert etag not in learned
    assert statuses >= {404, 405, 422}


def test_cursors_in_sql(mighty, workspaces):
    """A file of a session that may not be seen is no cursor, and no other one than a file that is not there."""
    for cursor, file in product(['before', 'after'], range(5)):
        query = f'SELECT session_files.get_session_files(%s, %s, {cursor} => %s)'
        answers = [plain(outcome(mighty, query, [workspaces.mine.name, workspaces.mine.session, other.files[file]]), other)
                   for other in (workspaces.secret, workspaces.missing)]
        assert answers[0] == answers[1]
        assert "'22023'" in answers[0] or "'P0002'" in answers[0], answers[0]


# ---- plain SQL

# What names something secret, or missing. All of it answers the same to both.
STATEMENTS = [
    'SELECT * FROM session_files.upload_sessions WHERE session_id = %(session)s',
    'SELECT * FROM session_files.upload_sessions WHERE workspace_name = %(name)s FOR UPDATE',
    'SELECT * FROM session_files.workspaces WHERE name = %(name)s FOR UPDATE',
    'SELECT * FROM session_files.workspace_grants WHERE workspace_name = %(name)s FOR UPDATE',
    'SELECT * FROM session_files.files WHERE session_id = %(session)s AND file_ingestion_id = %(file)s FOR SHARE',
    'SELECT * FROM session_files.files WHERE session_id = %(session)s AND session_files._name_key(name) = session_files._name_key(%(file_name)s) FOR SHARE',
    'SELECT * FROM session_files.file_queue WHERE lease_token = %(token)s FOR UPDATE',
    'SELECT * FROM session_files.file_counts WHERE session_id = %(session)s FOR UPDATE',
    'SELECT * FROM session_files.session_progress WHERE session_id = %(session)s',
    'SELECT * FROM session_files.leases WHERE lease_token = %(token)s',
    'SELECT * FROM session_files.workers WHERE worker = %(worker)s',
    'INSERT INTO session_files.upload_sessions (workspace_name) VALUES (%(name)s)',
    "INSERT INTO session_files.upload_sessions (workspace_name, expires_at) VALUES (%(name)s, '2000-01-01')",
    "INSERT INTO session_files.files (session_id, name) VALUES (%(session)s, 'x')",
    "INSERT INTO session_files.files (session_id, name) VALUES (%(session)s, '')",
    "INSERT INTO session_files.files (session_id, name) VALUES (%(session)s, repeat('x', 900))",
    'INSERT INTO session_files.files (session_id, name) VALUES (%(session)s, %(file_name)s)',
    'INSERT INTO session_files.files (session_id, name) VALUES (%(session)s, %(file_name)s) ON CONFLICT DO NOTHING',
    'INSERT INTO session_files.files (session_id, file_ingestion_id, name) VALUES (%(session)s, %(file)s, %(file_name)s)'
    " ON CONFLICT (session_id, file_ingestion_id) DO UPDATE SET name = files.name || '!' RETURNING *",
    "INSERT INTO session_files.files (session_id, file_ingestion_id, name) VALUES (%(mine)s, %(file)s, 'x') RETURNING name",
    'INSERT INTO session_files.file_counts VALUES (%(session)s, 1, 1, 1, 1, 1, 1)',
    'INSERT INTO session_files.file_queue (session_id, workspace_name, due_at, file_ingestion_ids, generation) VALUES (%(session)s, %(name)s, now(), ARRAY[%(file)s::uuid], 0)',
    'INSERT INTO session_files.workspaces VALUES (%(name)s)',
    "INSERT INTO session_files.workspace_grants (role, workspace_name, kind) VALUES ('hostile_mighty', %(name)s, 'keeper')",
    "INSERT INTO session_files.workspace_grants (role, workspace_name, kind) VALUES ('hostile_mighty', NULL, 'keeper')",
    'UPDATE session_files.upload_sessions SET workspace_name = %(name)s WHERE session_id = %(mine)s',
    'UPDATE session_files.files SET session_id = %(session)s WHERE session_id = %(mine)s',
    "UPDATE session_files.files SET name = name || '!' WHERE session_id = %(session)s RETURNING *",
    'UPDATE session_files.file_queue SET session_id = %(session)s WHERE session_id = %(mine)s',
    'UPDATE session_files.workspace_grants SET workspace_name = %(name)s WHERE workspace_name = %(own)s',
    'DELETE FROM session_files.files WHERE session_id = %(session)s RETURNING *',
    'DELETE FROM session_files.upload_sessions WHERE session_id = %(session)s RETURNING *',
    'DELETE FROM session_files.workspaces WHERE name = %(name)s RETURNING *',
    'DELETE FROM session_files.workspace_grants WHERE workspace_name = %(name)s RETURNING *',
    "SELECT has_table_privilege('session_files.files', 'SELECT'), session_files._may_see_session(%(session)s), session_files._may_see_workspace(%(name)s)",
]


def named(workspace, mine):
    return {'session': workspace.session, 'name': workspace.name, 'file': workspace.files[1], 'file_name': workspace.names[1],
            'token': workspace.token, 'worker': workspace.worker, 'mine': mine.session, 'own': mine.name}


@pytest.mark.parametrize('query', STATEMENTS)
def test_statements(mighty, workspaces, query):
    secret, missing = workspaces.secret, workspaces.missing
    learned = plain(outcome(mighty, query, named(secret, workspaces.mine)), secret)
    assert learned == plain(outcome(mighty, query, named(missing, workspaces.mine)), missing)
    assert SECRET not in learned


# What names nothing, and tries to get at all rows before a policy does, or by what a statement says besides its rows.
COLUMNS = {
    'workspaces': 'name', 'upload_sessions': 'workspace_name', 'workspace_grants': 'workspace_name', 'files': 'name', 'file_queue': 'worker',
    'session_progress': 'workspace_name', 'leases': 'worker', 'workers': 'worker',
}
PEEKS = [
    'SELECT count(*) FROM session_files.{table} WHERE hostile_own.peek({column})',
    "SELECT count(*) FROM session_files.{table} WHERE {column} OPERATOR(hostile_own.===) 'x'",
    "SELECT {column} FROM session_files.{table} WHERE 1 / (CASE WHEN {column} LIKE '%%secret%%' THEN 0 ELSE 1 END) = 1",
    'SELECT {column}::bigint FROM session_files.{table}',
    'SELECT 1 FROM session_files.{table} WHERE {column}::bigint > 0',
    'SELECT {column} FROM session_files.{table} GROUP BY 1 HAVING bool_or(hostile_own.peek({column}))',
    'SELECT hostile_own.all_of({column}) FROM session_files.{table}',
    'SELECT {column} FROM session_files.{table} ORDER BY hostile_own.peek({column})',
    'SELECT t.{column} FROM session_files.{table} AS t JOIN session_files.{table} AS u ON hostile_own.peek(t.{column}, u.{column})',
    'SELECT {column} FROM session_files.{table} AS t WHERE EXISTS (SELECT FROM generate_series(1, 2) AS g WHERE hostile_own.peek(t.{column} || g))',
    'SELECT t::text FROM session_files.{table} AS t WHERE hostile_own.peek(t::text)',
    'WITH w AS MATERIALIZED (SELECT * FROM session_files.{table}) SELECT count(*) FROM w WHERE hostile_own.peek({column})',
    'EXPLAIN (VERBOSE) SELECT * FROM session_files.{table} WHERE hostile_own.peek({column})',
    'CREATE TEMP TABLE copied AS SELECT * FROM session_files.{table} WHERE hostile_own.peek({column})',
]
WRITES = [
    "UPDATE session_files.{table} SET {column} = {column} || '!' WHERE hostile_own.peek({column}) RETURNING *",
    'DELETE FROM session_files.{table} WHERE hostile_own.peek({column}) RETURNING *',
    'SELECT * FROM session_files.{table} TABLESAMPLE system (100) WHERE hostile_own.peek({column})',
    "SELECT * FROM session_files.{table} WHERE ctid = ANY (SELECT ('(0,' || g || ')')::tid FROM generate_series(1, 50) AS g) AND hostile_own.peek({column})",
    'SELECT * FROM session_files.{table} WHERE hostile_own.peek({column}) FOR UPDATE SKIP LOCKED',
]
PLANS = ['SET LOCAL enable_indexscan = off', 'SET LOCAL enable_seqscan = off', 'SET LOCAL force_parallel_mode = on', 'SET LOCAL row_security = off',]


def tells_secret(result):
    return any(word in repr(result) for word in ENCODED)


@pytest.mark.parametrize('table', list(COLUMNS))
def test_peeking(db, mighty, workspaces, table):
    """Functions that tell what they see are called after the policies, in every kind of statement and plan."""
    is_view = table in ('session_progress', 'leases', 'workers')
    seen = 0
    for query in PEEKS if is_view else PEEKS + WRITES:
        query = query.format(table=table, column=COLUMNS[table])
        for setting in PLANS:
            with mighty.transaction(force_rollback=True):
                if 'force_parallel_mode' in setting and mighty.info.server_version >= 160000:
                    setting = 'SET LOCAL debug_parallel_query = on'
                mighty.execute(setting)
                assert not tells_secret(outcome(mighty, query)), (setting, query)
        seen += tells_secret(outcome(db, query))
    assert seen >= 8, 'the statements tell a superuser'


def test_plans_of_others(database, workspaces):
    """A statement that a superuser has prepared is planned again when the superuser becomes a role."""
    with connect(database) as db:
        db.execute('PREPARE names AS SELECT name FROM session_files.files')
        db.execute('PREPARE page AS SELECT session_files.get_session_files($1, $2)')
        page = f"EXECUTE page ('{workspaces.secret.name}', '{workspaces.secret.session}')"
        assert tells_secret(outcome(db, 'EXECUTE names')) and outcome(db, page)[0] == 'done'
        for _ in range(2):
            db.execute('SET ROLE hostile_mighty')
            rows = outcome(db, 'EXECUTE names')
            assert len(rows[1]) == len(workspaces.mine.names) and not tells_secret(rows)
            assert outcome(db, page)[1][0] == 'P0002'
            db.execute('RESET ROLE')
            assert tells_secret(outcome(db, 'EXECUTE names')) and outcome(db, page)[0] == 'done'


# ---- statistics

def no_statistics(db):
    """Takes away what an administrator has collected."""
    db.execute("""DELETE FROM pg_statistic AS s USING pg_class AS c WHERE c.oid = s.starelid AND c.relnamespace = 'session_files'::regnamespace""")


@pytest.fixture
def statistics(db):
    """Statistics in which the names are, as only an administrator can have them: of columns, of the indexes' expressions, and extended."""
    db.execute('''CREATE STATISTICS session_files.hostile_columns (mcv, ndistinct) ON session_id, name FROM session_files.files;
        CREATE STATISTICS session_files.hostile_expression ON lower(name) FROM session_files.files;
        ALTER TABLE session_files.files ALTER name SET STATISTICS 1000, ALTER session_id SET STATISTICS 1000;
        ALTER INDEX session_files.files_name_idx ALTER COLUMN 2 SET STATISTICS 1000''')
    # An index's target counts from the next transaction.
    db.execute('ANALYZE')
    yield
    db.execute('''DROP STATISTICS session_files.hostile_columns, session_files.hostile_expression;
        ALTER TABLE session_files.files ALTER name SET STATISTICS 0, ALTER session_id SET STATISTICS 0;
        ALTER INDEX session_files.files_name_idx ALTER COLUMN 2 SET STATISTICS 0''')
    no_statistics(db)


def test_none_are_collected(db, workspaces):
    """Of no column and no index expression of any table, all of which have rows."""
    db.execute('ANALYZE')
    empty = [table for table, in db.execute("SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'session_files'::regnamespace AND relkind = 'r'")
             if db.execute(f'SELECT count(*) FROM {table}').fetchone() == (0,)]
    assert empty == []
    assert db.execute('''SELECT starelid::regclass::text, staattnum FROM pg_statistic JOIN pg_class AS c ON c.oid = starelid
        WHERE relnamespace = 'session_files'::regnamespace''').fetchall() == []
    columns = db.execute('''SELECT c.relname, a.attname, a.attstattarget FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
            LEFT JOIN pg_index AS i ON i.indexrelid = c.oid
        WHERE c.relnamespace = 'session_files'::regnamespace AND a.attnum > 0 AND (c.relkind = 'r' OR i.indkey[a.attnum - 1] = 0)''').fetchall()
    assert len(columns) > 35 and all(target == 0 for _, _, target in columns), columns


def estimate(connection, table, condition, value):
    """Gives what EXPLAIN estimates of a query: costs and rows of each node of the plan."""
    [[[explained]]] = connection.execute(f'EXPLAIN (FORMAT json) SELECT FROM session_files.{table} WHERE {condition}', [value]).fetchall()

    def numbers(plan):
        return (plan['Node Type'], plan['Startup Cost'], plan['Total Cost'], plan['Plan Rows'], *map(numbers, plan.get('Plans', [])))
    return numbers(explained['Plan'])


# Whatever identifies something of a workspace, by what a role with SELECT can compare.
COMPARED = {
    'workspaces': ['name'],
    'upload_sessions': ['session_id', 'workspace_name', 'created_at', 'expires_at'],
    'workspace_grants': ['workspace_name'],
    'files': ['session_id', 'file_ingestion_id', 'name', 'session_files._name_key(name)'],
    'file_counts': ['session_id', 'digest'],
    'file_queue': ['session_id', 'due_at', 'file_ingestion_ids', 'file_ingestion_ids[1]', 'lease_token', 'worker', 'claimed_at'],
}


@pytest.mark.parametrize('table', list(COMPARED))
def test_estimates(db, mighty, workspaces, table):
    """What EXPLAIN estimates is the same for every value that is there, below the least and above the greatest: halving finds nothing."""
    db.execute('ANALYZE')
    for expression in COMPARED[table]:
        values = [value for value, in db.execute(f'SELECT DISTINCT ({expression})::text FROM session_files.{table} WHERE {expression} IS NOT NULL ORDER BY 1')]
        assert values, expression
        [[kind]] = db.execute(f'SELECT pg_typeof({expression})::text FROM session_files.{table} LIMIT 1')
        for operator in ['<', '<=', '=', '>=', '>']:
            estimates = {estimate(mighty, table, f'{expression} {operator} %s::{kind}', value) for value in values}
            assert len(estimates) == 1, (expression, operator, estimates)


def test_estimates_of_prefixes(db, mighty, workspaces):
    """LIKE, whose estimate looks at a histogram too."""
    db.execute('ANALYZE')
    estimates = {estimate(mighty, 'files', 'name LIKE %s', name[:length].ljust(length, '?') + '%') for length in (3, 9)
                 for name in [*workspaces.secret.names, *workspaces.mine.names, 'zzz', 'aaa']}
    assert len(estimates) <= 2, estimates


def test_statistics(db, mighty, statistics):
    queries = {
        'pg_stats': "SELECT tablename, attname, s::text FROM pg_stats AS s WHERE schemaname = 'session_files'",
        'pg_stats_ext': "SELECT s::text FROM pg_stats_ext AS s WHERE schemaname = 'session_files'",
        'pg_stats_ext_exprs': "SELECT s::text FROM pg_stats_ext_exprs AS s WHERE schemaname = 'session_files'",
    }
    for view, query in queries.items():
        assert tells_secret(outcome(db, query)), f'{view} tells a superuser'
        assert outcome(mighty, query)[:2] == ('done', []), view
    assert tells_secret(outcome(db, "SELECT s::text FROM pg_stats AS s WHERE tablename = 'files_name_idx'")), 'an index has the names, too'
    for catalog in ['pg_statistic', 'pg_statistic_ext_data']:
        assert outcome(mighty, f'SELECT * FROM {catalog}')[1][0] == '42501'


def test_what_cannot_be_hidden(mighty, workspaces, statistics):
    """What docs/privileges.md says that PostgreSQL shows to all: how much the tables hold, and, in plans, how much a policy has left out."""
    plan = str(outcome(mighty, 'EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) SELECT * FROM session_files.files')[1])
    assert 'Rows Removed by Filter: 5' in plan
    [[rows]] = mighty.execute("SELECT reltuples FROM pg_class WHERE oid = 'session_files.files'::regclass")
    assert rows == 10


def test_activity(database, mighty, workspaces):
    """What others are doing is not shown, also while they do it."""
    with connect(database, application_name='hostile') as other:
        other.execute("SELECT %s::text", [workspaces.secret.name])
        query = "SELECT a::text FROM pg_stat_activity AS a WHERE application_name = 'hostile'"
        [[mine]] = mighty.execute(query)
        assert '<insufficient privilege>' in mine and not tells_secret(mine)


def test_settings(database, workspaces):
    """row_security off is no way round, nor is a role that is not one's own."""
    with connect(database, user=role('mighty')) as mighty:
        mighty.execute('SET row_security = off')
        assert outcome(mighty, 'SELECT * FROM session_files.files')[1][0] == '42501'
        assert outcome(mighty, 'SELECT session_files.get_session_files(%s, %s)', [workspaces.secret.name, workspaces.secret.session])[1][0] == 'P0002'
        assert outcome(mighty, 'SELECT session_files._may_see_session(%s)', [workspaces.secret.session])[1] == [(False,)]
        for statement_ in ['SET ROLE hostile_stranger', 'SET SESSION AUTHORIZATION hostile_stranger', 'SET ROLE postgres',
                           'ALTER ROLE hostile_mighty BYPASSRLS', 'ALTER TABLE session_files.files DISABLE ROW LEVEL SECURITY',
                           'CREATE POLICY mine ON session_files.files USING (true)', "SET session_replication_role = 'replica'",
                           'ALTER FUNCTION session_files.maintain RESET search_path']:
            assert outcome(mighty, statement_)[1][0] == '42501', statement_


# ---- locks

LOCKED = [
    'SELECT FROM session_files.workspaces WHERE name = %(name)s FOR UPDATE',
    'SELECT FROM session_files.upload_sessions WHERE session_id = %(session)s FOR UPDATE',
    'SELECT FROM session_files.files WHERE session_id = %(session)s FOR UPDATE',
    'SELECT FROM session_files.file_queue WHERE session_id = %(session)s FOR UPDATE',
    'SELECT FROM session_files.file_counts WHERE session_id = %(session)s FOR UPDATE',
    'SELECT FROM session_files.workspace_grants WHERE workspace_name = %(name)s FOR UPDATE',
]
WHOLE_TABLES = [
    'SELECT count(*) FROM (SELECT FROM session_files.upload_sessions FOR UPDATE) AS s',
    'SELECT count(*) FROM (SELECT FROM session_files.files FOR UPDATE) AS s',
    'UPDATE session_files.files SET generation = DEFAULT',
    'UPDATE session_files.upload_sessions SET write_mode = write_mode',
    'DELETE FROM session_files.file_queue',
    'SELECT count(*) FROM session_files.claim_files(\'me\', 1000)',
    'SELECT * FROM session_files.maintain()',
]


def everything(db, workspaces):
    """Gives all that can be asked of the secret workspace, as (query, parameters)."""
    for function in functions_of(db).values():
        if function.name not in PURE:
            for secret, _ in variants(function, workspaces):
                yield statement(function, len(secret)), secret
    for query in STATEMENTS:
        yield query, named(workspaces.secret, workspaces.mine)
    for query in WHOLE_TABLES:
        yield query, {}


def lock(connection, workspaces, nowait=''):
    for query in LOCKED:
        assert connection.execute(query + nowait, named(workspaces.secret, workspaces.mine)).rowcount > 0, query


def rough(result):
    """Leaves out what is another in each call: claims have tokens and times."""
    return result[0], result[1][:2] if result[0] == 'error' else len(result[1]) if isinstance(result[1], list) else result[1]


def test_waits_for_no_lock(database, db, mighty, workspaces):
    """Who may not see rows does not wait for who has locked and changed them; statement by statement, what comes back is the same."""
    calls = list(everything(db, workspaces))
    free = [rough(outcome(mighty, *call)) for call in calls]
    assert len(calls) > 100 and not any("'57014'" in str(result) or "'55P03'" in str(result) for result in free)
    with connect(database) as other, other.transaction(force_rollback=True):
        lock(other, workspaces)
        other.execute("UPDATE session_files.upload_sessions SET status = 'CLOSED' WHERE session_id = %s", [workspaces.secret.session])
        other.execute("UPDATE session_files.files SET name = name || '!' WHERE session_id = %s", [workspaces.secret.session])
        other.execute('DELETE FROM session_files.file_queue WHERE session_id = %s', [workspaces.secret.session])
        mighty.execute("SET lock_timeout = '5s'")
        try:
            for call, result in zip(calls, free):
                assert rough(outcome(mighty, *call)) == result, call
        finally:
            mighty.execute('RESET lock_timeout')
        with pytest.raises(errors.LockNotAvailable):
            db.execute('SELECT FROM session_files.upload_sessions WHERE session_id = %s FOR UPDATE NOWAIT', [workspaces.secret.session])


def test_makes_no_other_wait(db, mighty, workspaces):
    """And what the role asks locks none of these rows, for as long as its transaction goes on."""
    held = 0
    for query, parameters in everything(db, workspaces):
        with mighty.transaction(force_rollback=True):
            try:
                with mighty.transaction():
                    mighty.execute(query, parameters)
            except psycopg.Error:
                continue
            with db.transaction(force_rollback=True):
                lock(db, workspaces, ' NOWAIT')
            held += 1
    assert held > 50
