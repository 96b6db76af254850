"""Those who list, and those who add up: what they see in one snapshot has to agree with itself."""

import hashlib
import json
import time
import uuid

import psycopg

import model
from client import BUSY, RETRIED, Client, Failure

SORTS = [(field, order) for field in model.FIELDS for order in model.ORDERS]
FILTERS = [None, *model.STATUSES]
PARAMETERS = ['ingestion_status', 'limit', 'before', 'after', 'page_number', 'field', 'order']
COLUMNS = 'file_ingestion_id::text, ingestion_status::text, ingestion_status_reason::text, name'
LISTING = 'session_files.get_session_files(%s, %s, %s, %s::bigint, %s, %s, %s::bigint, %s, %s)::text'
# SQL's own order, by no index of the extension.
SQL_ORDER = {'created_at': '{0} {1}', 'ingestion_status': 'ingestion_status::text COLLATE "C" {1}, {0} {1}',
             'ingestion_status_reason': 'ingestion_status_reason::text COLLATE "C" {1}, {0} {1}', 'name': 'name COLLATE "C" {1}, {0} {1}'}
SEQUENTIAL = 'SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off'
MODES = ['REPEATABLE READ', 'REPEATABLE READ', 'SERIALIZABLE READ ONLY DEFERRABLE', 'SERIALIZABLE', 'REPEATABLE READ READ ONLY']


def compare(got, expected, what):
    if got != expected:
        place = next((n for n, (a, b) in enumerate(zip(got, expected)) if a != b), 0) if isinstance(got, str) else 0
        raise Failure(f'{what}\ngot      {str(got)[max(place - 300, 0):place + 300]}\n'
                      f'expected {str(expected)[max(place - 300, 0):place + 300]}')


def random_params(rng, files):
    """Picks parameters of a listing: a page, or cursors."""
    field, order = rng.choice(SORTS)
    ids = [file[0] for file in model.sort_files(files, field, order)]
    limit = rng.choice([None, 0, 1, 2, 10, 99, 100, rng.randint(0, 100)])
    params = {'ingestion_status': rng.choice(FILTERS), 'limit': limit, 'field': field, 'order': order}
    kind = rng.choice(['page', 'after', 'before', 'between'])
    if kind == 'page' or not ids:
        last = len(ids) // (limit or 10) + 1
        params['page_number'] = rng.choice([None, 1, 2, last, last + 1, rng.randint(1, last), 2**63 - 1])
    else:
        start = rng.randrange(len(ids))
        if kind != 'before':
            params['after'] = ids[start]
        if kind == 'before':
            params['before'] = ids[start]
        elif kind == 'between':
            params['before'] = ids[min(max(start + rng.randint(-3, 120), 0), len(ids) - 1)]
    return params


def expected_body(files, params):
    given = {name: value for name, value in params.items() if value is not None}
    return model.render(model.list_files(files, given)).decode()


class Lister(Client):
    """Lists sessions, as a superuser or, of the workspaces granted to it, as a role; walks them; compares versions."""

    def __init__(self, shared, name, role=None):
        super().__init__(shared, name)
        self.role = role
        self.contents, self.etags = {}, {}

    def step(self):
        try:
            if self.rng.random() < 0.2:
                self.list_in_a_statement()
            else:
                self.list_in_a_snapshot()
        except psycopg.Error as error:
            self.db.execute('ROLLBACK')
            if error.sqlstate not in RETRIED:
                raise
            self.count('lister', error.sqlstate)

    def sessions(self):
        """Gives the sessions that are to be seen, and some that are not."""
        return self.db.execute('SELECT session_id::text, workspace_name, expires_at::text FROM session_files.upload_sessions').fetchall()

    def list_in_a_statement(self):
        """READ COMMITTED: page, rows and count come from one statement."""
        sessions = self.sessions()
        if not sessions or self.role:
            return
        session, workspace, _ = self.rng.choice(sessions)
        field, order = self.rng.choice(SORTS)
        status, limit = self.rng.choice(FILTERS), self.rng.choice([1, 10, 100])
        row = self.db.execute(f'''
            SELECT (SELECT {LISTING} WHERE EXISTS (SELECT FROM session_files.upload_sessions WHERE session_id = %s AND workspace_name = %s)),
                (SELECT count(*) FROM session_files.files WHERE session_id = %s AND (%s::text IS NULL OR ingestion_status::text = %s)),
                (SELECT json_agg(json_build_array({COLUMNS})) FROM session_files.files WHERE session_id = %s)::text''',
            [workspace, session, status, limit, None, None, None, field, order, session, workspace, session, status, status, session]).fetchone()
        if row[0] is None:
            return
        files = [tuple(file) for file in json.loads(row[2] or '[]')]
        params = {'ingestion_status': status, 'limit': limit, 'field': field, 'order': order}
        compare(row[0], expected_body(files, params), ('page in a statement', session, params))
        compare(json.loads(row[0])['total'], row[1], ('total in a statement', session, params))
        self.count('page in one statement', 'ok')

    def list_in_a_snapshot(self):
        mode = self.rng.choice(MODES)
        self.db.execute(f'BEGIN ISOLATION LEVEL {mode}')
        self.db.execute(SEQUENTIAL)
        hidden = []
        if self.role:
            hidden = self.db.execute("SELECT session_id::text, workspace_name FROM session_files.upload_sessions WHERE workspace_name = 'hidden'").fetchall()
            self.db.execute(f'SET LOCAL ROLE {self.role}')
        sessions = self.sessions()
        for session, workspace, expires_at in self.rng.sample(sessions, min(len(sessions), 2)):
            self.list_session(session, workspace, expires_at)
        for session, workspace in hidden[:1]:
            self.list_hidden(session, workspace)
        self.db.execute('COMMIT')
        self.count('snapshot ' + mode, 'ok')

    def list_hidden(self, session, workspace):
        if self.value('SELECT count(*) FROM session_files.files WHERE session_id = %s', [session]) != 0:
            raise Failure('the role sees files of a workspace that was not granted')
        status = self.value("SELECT status FROM session_files.handle_request('GET', %s)",
                            [f'/api/v1/workspaces/{workspace}/upload_sessions/{session}/files'])
        compare(status, 404, 'status for a workspace that was not granted')
        self.count('page of a hidden session', 'ok')

    def list_session(self, session, workspace, expires_at):
        field, order = self.rng.choice(SORTS)
        sql_order = SQL_ORDER[field].format('file_ingestion_id', order)
        files = self.db.execute(f'SELECT {COLUMNS} FROM session_files.files WHERE session_id = %s ORDER BY {sql_order}', [session]).fetchall()
        compare([file[0] for file in files], [file[0] for file in model.sort_files(files, field, order)], ('order of SQL', field, order))
        counts = dict(self.db.execute('''SELECT ingestion_status::text, count(*) FROM session_files.files WHERE session_id = %s
                                         GROUP BY 1''', [session]).fetchall())
        counts[None] = sum(counts.values())
        for _ in range(self.rng.randint(2, 10)):
            params = random_params(self.rng, files)
            what = session, workspace, params, len(files)
            body = self.page(workspace, session, params)
            compare(body, expected_body(files, params), ('page', *what))
            compare(json.loads(body)['total'], counts.get(params['ingestion_status'], 0), ('total', *what))
            self.count('page', 'ok')
        if self.rng.random() < 0.3:
            self.walk(session, workspace, field, order, files)
        self.compare_versions(session, workspace, expires_at, files)

    def page(self, workspace, session, params):
        return self.value(f'SELECT {LISTING}', (workspace, session, *map(params.get, PARAMETERS)))

    def walk(self, session, workspace, field, order, files):
        """Goes through the whole session by cursors, in either direction, and compares what that gives with the rows."""
        status, forward = self.rng.choice(FILTERS), self.rng.random() < 0.5
        params = {'ingestion_status': status, 'limit': self.rng.choice([7, 50, 100, 100]), 'field': field, 'order': order}
        shown, more = [], True
        expected = [dict(zip(model.KEYS, file)) for file in files if status in (None, file[1])]
        if not forward and files:
            # Back from the last file, which need not pass the filter.
            params['before'] = files[-1][0]
            expected = [file for file in expected if file['file_ingestion_id'] != files[-1][0]]
        while more:
            page = json.loads(self.page(workspace, session, params))
            shown = shown + page['data'] if forward or not files else page['data'] + shown
            more = page['has_more']
            if more:
                params['after' if forward else 'before'] = page['data'][-1 if forward else 0]['file_ingestion_id']
            self.count('page of a walk', 'ok')
        compare(json.dumps(shown), json.dumps(expected), ('walk', session, params))
        self.count('walk', 'ok')

    def compare_versions(self, session, workspace, expires_at, files):
        """An ETag stands for one content, and a content has one ETag, at whatever time."""
        content = hashlib.sha256(repr((expires_at, sorted(files))).encode()).digest()
        etag = self.etag(session, workspace)
        if self.contents.setdefault(etag, content) != content:
            raise Failure(f'an ETag of two contents: session {session}, {etag}')
        if self.etags.setdefault(content, etag) != etag:
            raise Failure(f'a content of two ETags: session {session}, {etag} and {self.etags[content]}')
        self.count('version', 'ok')

    def etag(self, session, workspace):
        headers = self.value("SELECT headers FROM session_files.handle_request('GET', %s)",
                             [f'/api/v1/workspaces/{workspace.replace(" ", "%20")}/upload_sessions/{session}/files?limit=0'])
        return next(header['ETag'] for header in headers if 'ETag' in header)


# Each names what must not be, in any snapshot.
INVARIANTS = {
    'totals are the numbers of files': '''
        SELECT session_id, f.counts, c.counts FROM (SELECT session_id, ARRAY[count(*) FILTER (WHERE ingestion_status = 'FAILED'),
                count(*) FILTER (WHERE ingestion_status = 'FINISHED'), count(*) FILTER (WHERE ingestion_status = 'PENDING')] AS counts
            FROM session_files.files GROUP BY 1) AS f
        FULL JOIN (SELECT session_id, ARRAY[sum(failed), sum(finished), sum(pending)]::bigint[] AS counts, bit_xor(digest) AS digest
            FROM session_files.file_counts GROUP BY 1) AS c USING (session_id)
        WHERE f.counts IS DISTINCT FROM c.counts AND NOT (f.counts IS NULL AND c.counts = '{0,0,0}' AND c.digest = 0)''',
    'no counts of sessions that are gone': '''
        SELECT c.* FROM session_files.file_counts AS c
        WHERE NOT EXISTS (SELECT FROM session_files.upload_sessions AS s WHERE s.session_id = c.session_id)''',
    'no queue of sessions that are gone': '''
        SELECT q.* FROM session_files.file_queue AS q
        WHERE NOT EXISTS (SELECT FROM session_files.upload_sessions AS s WHERE s.session_id = q.session_id)''',
    'each PENDING file is queued once': '''
        SELECT session_id, id, generation, array_agg(of_row) AS of_rows FROM (
            SELECT *, max(of_file) OVER (PARTITION BY session_id, id) AS generation FROM (
                SELECT session_id, file_ingestion_id AS id, generation AS of_file, NULL::bigint AS of_row
                    FROM session_files.files WHERE ingestion_status = 'PENDING'
                UNION ALL
                SELECT session_id, unnest(file_ingestion_ids), NULL, generation FROM session_files.file_queue) AS e) AS e
        WHERE generation IS NOT NULL GROUP BY 1, 2, 3 HAVING count(*) FILTER (WHERE of_row >= generation) <> 1''',
    'no generation is that of two files': '''
        SELECT generation, count(*) FROM session_files.files GROUP BY 1 HAVING count(*) > 1''',
    'reasons and long names keep the rules': '''
        SELECT * FROM session_files.files WHERE (ingestion_status = 'FAILED') <> (ingestion_status_reason IS NOT NULL)
            OR char_length(name) > 800 AND ingestion_status_reason <> 'FILE NAME TOO LONG. MAX LENGTH IS 800' ''',
}
# What the extension says of itself.
BROKEN = 'SELECT * FROM session_files.check() WHERE broken > 0'


class Auditor(Lister):
    """Adds up, in snapshot after snapshot, and writes copies of sessions, which have to get the versions of their originals."""

    slots = truncations = 0

    def step(self):
        self.db.execute('BEGIN ISOLATION LEVEL REPEATABLE READ')
        try:
            self.audit()
            self.watch_slots()
            sessions = self.sessions()
            if sessions:
                self.copy(*self.rng.choice(sessions))
        except psycopg.Error as error:
            # The workspace of the copy was renamed.
            if error.sqlstate not in RETRIED | {'23503'}:
                raise
            self.count('auditor', error.sqlstate)
        self.db.execute('ROLLBACK')
        time.sleep(0.2)

    def audit(self):
        for name, query in INVARIANTS.items():
            if wrong := self.db.execute(f'SELECT * FROM ({query}) AS wrong LIMIT 5').fetchall():
                raise Failure(f'broken: {name}\n' + '\n'.join(map(repr, wrong)))
            self.count('audit', 'ok')
        if self.rng.random() < 0.2:
            if wrong := self.db.execute(BROKEN).fetchall():
                raise Failure(f'check() says: {wrong}')
            self.count('check()', 'ok')

    def watch_slots(self):
        """Takes note when the slots of a session that has many were merged."""
        slots, truncations = self.value('SELECT count(*) FROM session_files.file_counts WHERE session_id = %s', [BUSY]), self.shared.truncations.value
        if slots < self.slots - 16 and truncations == self.truncations:
            self.count('merge of slots', 'ok')
        self.slots, self.truncations = slots, truncations

    def copy(self, session, workspace, _):
        copy = str(uuid.uuid4())
        self.db.execute('''INSERT INTO session_files.upload_sessions (session_id, workspace_name, created_at, expires_at)
                           SELECT %s, workspace_name, created_at, expires_at FROM session_files.upload_sessions WHERE session_id = %s''',
                        [copy, session])
        self.db.execute('''INSERT INTO session_files.files (session_id, file_ingestion_id, ingestion_status, ingestion_status_reason, name)
                           SELECT %s, file_ingestion_id, ingestion_status, ingestion_status_reason, name
                           FROM session_files.files WHERE session_id = %s''', [copy, session])
        compare(self.etag(session, workspace), self.etag(copy, workspace), ('version of a session, and of its copy', session))
        self.count('copy of a session', 'ok')
