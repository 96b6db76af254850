"""What each kind of role can do: the table of docs/privileges.md, cell by cell, and its grants as they stand there.

Each action is done three times, each time undone: in a workspace that was granted, in one that was not, and in one that is not there.
"""

import re

import pytest
from psycopg import sql

from conftest import KINDS, PRIVILEGES, connect, documented_grants, outcome, role

COLUMNS = [*KINDS, 'session_files_anonymous', 'any other', 'superuser']
EXPIRE = "UPDATE session_files.upload_sessions SET created_at = '2020-01-01', expires_at = '2020-01-02' WHERE session_id = %(session)s"
TARGET = '/api/v1/workspaces/{}/upload_sessions/{}/files'

# For each row of the table the statements that it stands for, all with the same result; what is to be there first is made by a superuser.
ACTIONS = {
    '`get_session_files`, `list_session_files`, `session_counts`': [
        'SELECT session_files.get_session_files(%(name)s, %(session)s)',
        'SELECT * FROM session_files.list_session_files(%(name)s, %(session)s)',
        'SELECT * FROM session_files.session_counts(%(session)s)'],
    '`handle_request`, which is HTTP': ["SELECT status, headers::text, body FROM session_files.handle_request('GET', %(target)s)"],
    '`create_workspace`': ["SELECT session_files.create_workspace('another')", "INSERT INTO session_files.workspaces VALUES ('another')"],
    '`create_session`, `register_files`, `close_session`': [
        'SELECT session_files.create_session(%(name)s) IS NOT NULL',
        "SELECT name FROM session_files.register_files(%(session)s, '{more}')",
        'SELECT session_files.close_session(%(session)s)'],
    '`finish_files`, `fail_files`': [
        'SELECT * FROM session_files.finish_files(%(session)s, %(pending)s)',
        "SELECT * FROM session_files.fail_files(%(session)s, %(pending)s, 'EMPTY_FILE')"],
    '`claim_files`, `extend_lease`, `release_files`': [
        "SELECT name FROM session_files.claim_files('me', workspace_name => %(name)s)",
        "SELECT name FROM session_files.claim_files('me', session_id => %(session)s)",
        'SELECT file_ingestion_id, lease_expires_at > now() FROM session_files.extend_lease(%(session)s, %(leased)s, %(token)s)',
        'SELECT * FROM session_files.release_files(%(session)s, %(leased)s, %(token)s)',
        'SELECT * FROM session_files.finish_files(%(session)s, %(leased)s, %(token)s)'],
    '`retry_failed`': ['SELECT session_files.retry_failed(%(session)s)'],
    '`maintain`': [(EXPIRE, 'SELECT * FROM session_files.maintain()')],
    '`grant_workspace`, `revoke_workspace`': [
        "SELECT session_files.grant_workspace('hostile_ungranted', %(name)s)", "SELECT session_files.revoke_workspace('hostile_ungranted', %(name)s)"],
    '`check`, `repair`': ['SELECT invariant FROM session_files.check()', 'SELECT invariant FROM session_files.repair()'],
    '`session_progress`': ['SELECT * FROM session_files.session_progress WHERE session_id = %(session)s'],
    '`leases`, `workers`': [
        'SELECT * FROM session_files.leases WHERE session_id = %(session)s',
        'SELECT * FROM session_files.workers WHERE worker = %(worker)s'],
    '`SELECT` on `upload_sessions`': ['SELECT * FROM session_files.upload_sessions WHERE session_id = %(session)s'],
    '`SELECT` on `files`': ['SELECT * FROM session_files.files WHERE session_id = %(session)s'],
    '`SELECT` on `workspaces`': ['SELECT * FROM session_files.workspaces WHERE name = %(name)s'],
    '`SELECT` on `file_queue`': ['SELECT * FROM session_files.file_queue WHERE session_id = %(session)s'],
    '`SELECT` on `file_counts`, `workspace_grants`': [
        'SELECT * FROM session_files.file_counts WHERE session_id = %(session)s',
        'SELECT * FROM session_files.workspace_grants WHERE workspace_name = %(name)s'],
    '`INSERT` into `files`': ["INSERT INTO session_files.files (session_id, name) VALUES (%(session)s, 'more')"],
    '`INSERT` into `upload_sessions`': ['INSERT INTO session_files.upload_sessions (workspace_name) VALUES (%(name)s)'],
    '`UPDATE` of `upload_sessions`': ["UPDATE session_files.upload_sessions SET write_mode = 'FAIL' WHERE session_id = %(session)s"],
    '`UPDATE` of `files`': ["UPDATE session_files.files SET name = 'other' WHERE file_ingestion_id = ANY (%(pending)s)"],
    '`UPDATE`, `DELETE` of `file_queue`': [
        'UPDATE session_files.file_queue SET attempt = 7 WHERE lease_token = %(token)s',
        'DELETE FROM session_files.file_queue WHERE lease_token = %(token)s'],
    '`DELETE` of `files`': ['DELETE FROM session_files.files WHERE file_ingestion_id = ANY (%(pending)s)'],
    'writing `file_counts`, `workspace_grants`': [
        'UPDATE session_files.file_counts SET pending = 0 WHERE session_id = %(session)s',
        "INSERT INTO session_files.workspace_grants SELECT 'hostile_ungranted', name FROM (VALUES (%(name)s::text)) AS w (name)"
        ' WHERE EXISTS (SELECT FROM session_files.workspaces AS s WHERE s.name = w.name)'],
    '`TRUNCATE`': [f'TRUNCATE session_files.{table}' for table in ('files', 'file_counts', 'file_queue', 'workspace_grants')],
    '`COPY files FROM`': ['COPY session_files.files (session_id, name) FROM STDIN'],
    '`ALTER`, `DROP`, `CREATE` in the schema': [
        'ALTER TABLE session_files.files ADD more text', 'DROP EXTENSION session_files CASCADE',
        'CREATE FUNCTION session_files.more() RETURNS integer LANGUAGE sql RETURN 1'],
}


def table():
    """Reads the table of docs/privileges.md: a dict of rows, each a dict of cells."""
    start = PRIVILEGES.index('\n| what | lister |')
    lines = PRIVILEGES[start:].strip().split('\n\n')[0].splitlines()
    head, rule, *rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    assert head == ['what', *(column if column in KINDS or ' ' in column or column == 'superuser' else f'`{column}`' for column in COLUMNS)]
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
    code = result[0] if kind == 'error' else '403' if text.startswith('[(403,') else None
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
        assert (other_code, missing_code) == (code, code), action
        return code
    if other == missing:
        return 'yes' if other == granted else 'own'
    assert other_code is None, other
    return 'all'


def user(column):
    return {'session_files_anonymous': column, 'any other': role('ungranted'), 'superuser': None}.get(column, role(column))


def test_rows():
    assert list(table()) == list(ACTIONS), 'each row of docs/privileges.md needs an action here, and each action a row there'
    assert len(table()) > 20


@pytest.mark.parametrize('column', COLUMNS)
def test_column(db, workspaces, column):
    promised = {row: cells[column] for row, cells in table().items()}
    found = {row: ', '.join(sorted({cell(db, user(column), action, workspaces) for action in actions})) for row, actions in ACTIONS.items()}
    assert found == promised


def test_grants_as_they_stand(database):
    """The documented block, whole, in one go; a role that is granted every workspace sees the secret one."""
    with connect(database) as db, db.transaction(force_rollback=True):
        for statement in documented_grants():
            db.execute(statement)
        for kind, view in [('watcher', 'session_progress'), ('keeper', 'files')]:
            db.execute(sql.SQL('SET LOCAL ROLE {}').format(sql.Identifier(role(kind))))
            [[count]] = db.execute(f'SELECT count(DISTINCT session_id) FROM session_files.{view}')
            assert count == 2, kind
            db.execute('RESET ROLE')


def test_check_and_repair(database):
    """They are for who sees all rows: of those to whom they were granted, a role with BYPASSRLS that may read the sequence, or the tables' owner."""
    with connect(database) as db, db.transaction(force_rollback=True):
        calls = ['SELECT count(*) FROM session_files.check()', 'SELECT count(*) FROM session_files.repair()']

        def answers():
            db.execute('SET LOCAL ROLE hostile_mighty')
            results = [outcome(db, call) for call in calls]
            db.execute('RESET ROLE')
            return [result[1][0] if result[0] == 'error' else 'done' for result in results]
        assert answers() == ['42501', '42501']
        db.execute('ALTER ROLE hostile_mighty BYPASSRLS')
        assert answers() == ['42501', '42501']
        db.execute('GRANT SELECT ON SEQUENCE session_files.files_generation_seq TO hostile_mighty')
        assert answers() == ['done', 'done']
        db.execute('ALTER ROLE hostile_mighty NOBYPASSRLS')
        for table in ['workspaces', 'workspace_grants', 'upload_sessions', 'files', 'file_counts', 'file_queue']:
            db.execute(f'ALTER TABLE session_files.{table} OWNER TO hostile_mighty')
        assert answers() == ['done', 'done']


def test_no_other_role_has_rights(db):
    """No function and no table is PUBLIC's, but for the two that policies call; no function of the extension runs as its owner."""
    public = db.execute('''
        SELECT p.proname FROM pg_proc AS p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
            WHERE p.pronamespace IN ('session_files'::regnamespace, 'session_files_api'::regnamespace) AND a.grantee = 0
        UNION ALL
        SELECT c.relname FROM pg_class AS c, aclexplode(c.relacl) AS a
            WHERE c.relnamespace = 'session_files'::regnamespace AND a.grantee = 0 ORDER BY 1''').fetchall()
    assert [name for name, in public] == ['may_see_session', 'may_see_workspace']
    unprotected = db.execute('''
        SELECT relname FROM pg_class WHERE relnamespace = 'session_files'::regnamespace AND (relkind IN ('r', 'p') AND NOT relrowsecurity
            OR relkind IN ('v', 'm') AND NOT coalesce(reloptions @> '{security_barrier=true}', false))''').fetchall()
    assert unprotected == []
