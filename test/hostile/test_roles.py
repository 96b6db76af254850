"""What each kind of role can do: the table of docs/privileges.md, cell by cell, and its grants as they stand there.

Each action is done three times, each time undone: in a workspace that was granted, in one that was not, and in one that is not there.
"""

import re

import pytest
from psycopg import sql

from conftest import KINDS, PRIVILEGES, connect, documented_grants, outcome, role

COLUMNS = [*KINDS, 'head_keeper', 'any other', 'superuser']
EXPIRE = "UPDATE session_files.upload_sessions SET created_at = '2020-01-01', expires_at = '2020-01-02' WHERE session_id = %(session)s"
TARGET = '/api/v1/workspaces/{}/upload_sessions/{}/files'
# Which rows of a table are of a workspace.
TABLES = {'workspaces': 'name = %(name)s', 'workspace_grants': 'workspace_name = %(name)s',
          **dict.fromkeys(['upload_sessions', 'files', 'file_counts', 'file_queue'], 'session_id = %(session)s')}

# For each row of the table the statements that it stands for, all with the same result; what is to be there first is made by a superuser.
ACTIONS = {
    '`get_session_files`, `list_session_files`, `session_counts`, `get_session_status`': [
        'SELECT session_files.get_session_files(%(name)s, %(session)s)',
        'SELECT * FROM session_files.list_session_files(%(name)s, %(session)s)',
        'SELECT * FROM session_files.session_counts(%(session)s)',
        'SELECT session_files.get_session_status(%(name)s, %(session)s)'],
    '`handle_request`, which is HTTP': ["SELECT status, headers::text, body FROM session_files.handle_request('GET', %(target)s)"],
    '`create_session`, `register_files`, `extend_session`, `close_session`, `cancel_session`': [
        'SELECT session_files.create_session(%(name)s) IS NOT NULL',
        "SELECT name FROM session_files.register_files(%(session)s, '{more}')",
        "SELECT session_files.extend_session(%(session)s, '1 hour') > now()",
        'SELECT session_files.close_session(%(session)s)',
        'SELECT session_files.cancel_session(%(session)s)'],
    '`claim_files`, `extend_lease`, `release_files`, `finish_files`, `fail_files`': [
        "SELECT name FROM session_files.claim_files('me', workspace_name => %(name)s)",
        "SELECT name FROM session_files.claim_files('me', session_id => %(session)s)",
        "SELECT name FROM session_files.claim_files('me', workspace_name => %(name)s, session_id => %(session)s)",
        'SELECT file_ingestion_id, lease_expires_at > now() FROM session_files.extend_lease(%(session)s, %(leased)s, %(token)s)',
        'SELECT * FROM session_files.release_files(%(session)s, %(leased)s, %(token)s)',
        'SELECT * FROM session_files.finish_files(%(session)s, %(leased)s, %(token)s)',
        'SELECT * FROM session_files.finish_files(%(session)s, %(pending)s)',
        "SELECT * FROM session_files.fail_files(%(session)s, %(pending)s, 'EMPTY_FILE')"],
    '`retry_failed`, `reopen_session`, `delete_session`, `delete_files`': [
        'SELECT session_files.retry_failed(%(session)s)',
        'SELECT session_files.reopen_session(%(session)s) > now()',
        'SELECT session_files.delete_files(%(session)s, %(pending)s)',
        'SELECT session_files.delete_session(%(session)s)'],
    '`maintain`': [(EXPIRE, 'SELECT * FROM session_files.maintain()')],
    '`create_workspace`, `check`': ["SELECT session_files.create_workspace('another')", 'SELECT invariant FROM session_files.check()'],
    '`repair`': ['SELECT invariant FROM session_files.repair()'],
    '`grant_workspace`, `revoke_workspace`': [
        "SELECT session_files.grant_workspace('hostile_ungranted', %(name)s)", "SELECT session_files.revoke_workspace('hostile_ungranted', %(name)s)"],
    '`session_progress`': ['SELECT * FROM session_files.session_progress WHERE session_id = %(session)s'],
    '`leases`, `workers`': [
        'SELECT * FROM session_files.leases WHERE session_id = %(session)s',
        'SELECT * FROM session_files.workers WHERE worker = %(worker)s'],
    '`SELECT` on a table': [f'SELECT * FROM session_files.{table} WHERE {condition}' for table, condition in TABLES.items()],
    '`INSERT`, `UPDATE`, `DELETE`, `COPY`': [
        "INSERT INTO session_files.files (session_id, name) VALUES (%(session)s, 'more')",
        'INSERT INTO session_files.upload_sessions (workspace_name) VALUES (%(name)s)',
        "INSERT INTO session_files.workspace_grants (role, workspace_name, kind) SELECT 'hostile_ungranted', name, 'keeper' FROM (VALUES (%(name)s::text)) AS w (name)"
        ' WHERE EXISTS (SELECT FROM session_files.workspaces AS s WHERE s.name = w.name)',
        "UPDATE session_files.upload_sessions SET write_mode = 'FAIL' WHERE session_id = %(session)s",
        "UPDATE session_files.files SET name = 'other' WHERE file_ingestion_id = ANY (%(pending)s)",
        'UPDATE session_files.file_queue SET attempt = 7 WHERE lease_token = %(token)s',
        'UPDATE session_files.file_counts SET pending = 0 WHERE session_id = %(session)s',
        'DELETE FROM session_files.file_queue WHERE lease_token = %(token)s',
        'DELETE FROM session_files.files WHERE file_ingestion_id = ANY (%(pending)s)',
        'COPY session_files.files (session_id, name) FROM STDIN'],
    '`TRUNCATE`, `LOCK TABLE`': [
        *(f'TRUNCATE session_files.{table} CASCADE' for table in TABLES),
        *(f'LOCK TABLE session_files.{table} IN {mode} MODE' for table in TABLES for mode in ('ACCESS SHARE', 'ROW EXCLUSIVE', 'ACCESS EXCLUSIVE'))],
    '`ALTER`, `DROP`, `CREATE` in the schema': [
        'ALTER TABLE session_files.files ADD more text', 'DROP EXTENSION session_files CASCADE',
        'CREATE FUNCTION session_files.more() RETURNS integer LANGUAGE sql RETURN 1'],
}


def table():
    """Reads the table of docs/privileges.md: a dict of rows, each a dict of cells."""
    start = PRIVILEGES.index('\n| what | lister |')
    lines = PRIVILEGES[start:].strip().split('\n\n')[0].splitlines()
    head, rule, *rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    assert head == ['what', *COLUMNS]
    assert all(set(cell) <= set('-:') for cell in rule)
    assert all(len(row) == len(head) for row in rows), rows
    cells = {row[0]: dict(zip(COLUMNS, row[1:])) for row in rows}
    assert len(cells) == len(rows)
    return cells


def parameters(workspace):
    return {'name': workspace.name, 'session': workspace.session, 'pending': workspace.files[4:], 'leased': workspace.files[2:3],
            'token': workspace.token, 'worker': workspace.worker, 'target': TARGET.format(workspace.name.replace(' ', '%20'), workspace.session)}


def act(db, who, action, workspace):
    """Does an action as a role, and undoes it; what it came to, with placeholders for what is the workspace's own."""
    prepare, statement = action if isinstance(action, tuple) else (None, action)
    with db.transaction(force_rollback=True):
        if prepare:
            db.execute(prepare, parameters(workspace))
        if who:
            db.execute(sql.SQL('SET LOCAL SESSION AUTHORIZATION {}').format(sql.Identifier(who)))
        kind, result, notices = copy(db, statement, workspace) if statement.startswith('COPY') else outcome(db, statement, parameters(workspace))
    text = str(result)
    for word in [workspace.name, workspace.session, *workspace.files, workspace.token, workspace.worker]:
        text = text.replace(str(word), '?').replace(str(word).replace(' ', '%20'), '?')
    code = result[0] if kind == 'error' else '404' if text.startswith('[(404,') else None
    return code, text


def copy(db, statement, workspace):
    def run():
        with db.transaction(force_rollback=True), db.cursor().copy(statement) as lines:
            lines.write_row([workspace.session, 'copied'])
    try:
        run()
    except Exception as error:
        return 'error', [error.sqlstate, str(error)], []
    return 'done', workspace.session, []


def cell(db, who, action, workspaces):
    """Says in the table's words what a role can do."""
    code, granted = act(db, who, action, workspaces.mine)
    other_code, other = act(db, who, action, workspaces.secret)
    missing_code, missing = act(db, who, action, workspaces.missing)
    if code:
        # With a grant of another kind; without one there is no such thing.
        assert (other_code, missing_code) in {(code, code), ('P0002', 'P0002') if code == '42501' else ()}, action
        return code
    if granted == other == missing == '[]':
        return 'nothing'
    if other == missing:
        return 'yes' if other == granted else 'own'
    assert other_code is None, other
    return 'all'


def user(column):
    return {'any other': role('ungranted'), 'superuser': None}.get(column, role(column))


def test_rows():
    assert list(table()) == list(ACTIONS), 'each row of docs/privileges.md needs an action here, and each action a row there'
    assert len(table()) > 12


@pytest.mark.parametrize('column', COLUMNS)
def test_column(db, workspaces, column):
    promised = {row: cells[column] for row, cells in table().items()}
    found = {row: ', '.join(sorted({cell(db, user(column), action, workspaces) for action in actions})) for row, actions in ACTIONS.items()}
    assert found == promised


def test_documented_grants(database, workspaces):
    """The role that keeps all workspaces sees the secret one, and the others do not."""
    with connect(database) as db:
        for kind, count in [('watcher', 1), ('keeper', 1), ('head_keeper', 2), ('lister', 0)]:
            with db.transaction(force_rollback=True):
                db.execute(sql.SQL('SET LOCAL ROLE {}').format(sql.Identifier(role(kind))))
                assert db.execute('SELECT count(DISTINCT session_id) FROM session_files.session_progress').fetchone() == (count,), kind


def test_exempt(database, workspaces):
    """Who needs no grant: a role with BYPASSRLS, or the tables' owner, which executes the functions that the public ones call."""
    with connect(database) as db, db.transaction(force_rollback=True):
        calls = ['SELECT count(*) FROM session_files.check()', 'SELECT count(*) FROM session_files.repair()',
                 f"SELECT session_files.close_session('{workspaces.secret.session}')", "SELECT session_files.grant_workspace('hostile_ungranted', NULL)"]

        def answers():
            db.execute('SET LOCAL ROLE hostile_mighty')
            results = [outcome(db, call) for call in calls]
            db.execute('RESET ROLE')
            return [result[1][0] if result[0] == 'error' else 'done' for result in results]
        assert answers() == ['42501', '42501', 'P0002', '42501']
        db.execute('ALTER ROLE hostile_mighty BYPASSRLS')
        assert answers() == ['done'] * 4
        db.execute('ALTER ROLE hostile_mighty NOBYPASSRLS')
        assert answers() == ['42501', '42501', 'P0002', '42501']
        for table in TABLES:
            db.execute(f'ALTER TABLE session_files.{table} OWNER TO hostile_mighty')
        db.execute('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA session_files TO hostile_mighty')
        assert answers() == ['done'] * 4


def test_no_other_role_has_rights(db):
    """PUBLIC has no table. Of functions, those that check their caller, and what defaults, indexes, policies and views call."""
    assert db.execute('''SELECT relname FROM pg_class AS c, aclexplode(c.relacl) AS a WHERE relnamespace = 'session_files'::regnamespace
        AND a.grantee = 0 ORDER BY 1''').fetchall() == [('leases',), ('session_progress',), ('workers',)]
    public = {name for name, in db.execute('''SELECT p.proname FROM pg_proc AS p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
        WHERE p.pronamespace = 'session_files'::regnamespace AND a.grantee = 0''')}
    described = {name for row in ACTIONS for name in re.findall(r'`(\w+)`', row)}
    assert public - described == {'uuid7', 'uuid7_time', '_name_key', '_default_expiry', '_may_see_workspace', '_may_see_session', '_has_kind'}
    unprotected = db.execute('''
        SELECT relname FROM pg_class WHERE relnamespace = 'session_files'::regnamespace AND (relkind IN ('r', 'p') AND NOT relrowsecurity
            OR relkind IN ('v', 'm') AND NOT coalesce(reloptions @> '{security_barrier=true}', false))''').fetchall()
    assert unprotected == []


def test_private_functions(database, db, workspaces):
    """A role cannot call what works without a check of its caller."""
    private = db.execute('''SELECT p.oid::regprocedure::text, p.proname, p.pronargs FROM pg_proc AS p WHERE pronamespace = 'session_files'::regnamespace
        AND prorettype <> 'trigger'::regtype AND NOT proisstrict AND NOT has_function_privilege('public', oid, 'EXECUTE')''').fetchall()
    assert len(private) > 20
    with connect(database, user=role('mighty')) as mighty:
        for signature, name, count in private:
            call = sql.SQL('SELECT session_files.{}({})').format(sql.Identifier(name), sql.SQL(', ').join([sql.SQL('NULL')] * count))
            kind, diagnostics, _ = outcome(mighty, call)
            assert (kind, diagnostics[0]) == ('error', '42501'), signature
