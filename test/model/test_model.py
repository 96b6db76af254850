"""Compares the listing with the model of the contract (model.py): random sessions, writes and requests.

Needs a server with the extension installed, reached by the usual PG* variables, and a superuser's right there.
MODEL_SEED replays a run (the seed is printed; ids that the server makes differ all the same),
MODEL_ROUNDS lengthens or shortens it.
"""

import hashlib
import json
import os
import random
import threading
import uuid

import psycopg
import pytest
from psycopg import errors, sql

import model
from writes import COLUMNS, SOURCE, WORKSPACES, Row, Writer, as_json, random_id, random_state, random_text

SEED = os.environ.get('MODEL_SEED') or str(random.SystemRandom().randrange(10**9))
ROUNDS = int(os.environ.get('MODEL_ROUNDS') or 150)
REQUESTS = 150    # in each round
SORTS = [(field, order) for field in model.FIELDS for order in model.ORDERS]
FILTERS = [None, *model.STATUSES]
LEVELS = ['READ COMMITTED', 'READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE']
MAINTENANCE = ['VACUUM', 'VACUUM ANALYZE', 'VACUUM FULL', 'REINDEX TABLE', 'REINDEX TABLE CONCURRENTLY']
TABLES = ['files', 'files', 'file_counts', 'file_queue', 'upload_sessions']
PARAMETERS = ['ingestion_status', 'limit', 'before', 'after', 'page_number', 'field', 'order']


@pytest.fixture(scope='module')
def database(request):
    """Makes a database with the extension and drops it at the end; gives its name."""
    with request.config.pluginmanager.getplugin('capturemanager').global_and_fixture_disabled():
        print(f'\nMODEL_SEED={SEED} MODEL_ROUNDS={ROUNDS}')
    name = f'session_files_model_{uuid.uuid4().hex}'
    with psycopg.connect(autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(name)))
        try:
            with connect(name) as db:
                db.execute('CREATE EXTENSION session_files')
            yield name
        finally:
            admin.execute(sql.SQL('DROP DATABASE {} WITH (FORCE)').format(sql.Identifier(name)))


@pytest.fixture
def db(database):
    warnings = []
    with connect(database) as connection:
        connection.add_notice_handler(
            lambda notice: notice.severity_nonlocalized == 'WARNING' and warnings.append(notice.message_primary))
        yield connection
        orphans = connection.execute('''SELECT * FROM session_files.file_counts c WHERE NOT EXISTS (
            SELECT FROM session_files.upload_sessions s WHERE s.session_id = c.session_id) LIMIT 3''').fetchall()
        connection.execute('TRUNCATE session_files.workspaces CASCADE')
    compare((orphans, warnings), ([], []), 'counts of sessions that are gone, and warnings (of leaks)')


@pytest.fixture
def rng(request):
    return random.Random(f'{SEED} {request.node.name}')


@pytest.fixture
def writer(db, rng):
    writer = Writer(db, rng, lambda: check_requests(db, rng, 5))
    writer.create_workspaces()
    return writer


def connect(database):
    return psycopg.connect(dbname=database, autocommit=True, client_encoding='UTF8')


def compare(got, expected, what):
    assert got == expected, f'MODEL_SEED={SEED}: {what!r}'


# ---- asking

def read_sessions(db):
    """Reads by plain SQL what the model answers from."""
    sessions = {session: (workspace, []) for session, workspace in
                db.execute('SELECT session_id::text, workspace_name FROM session_files.upload_sessions')}
    for session, *file in db.execute('''SELECT session_id::text, file_ingestion_id::text, ingestion_status::text,
                                               ingestion_status_reason::text, name FROM session_files.files'''):
        sessions[session][1].append(tuple(file))
    return sessions


def http(db, target, method='GET'):
    """Asks handle_request; returns (status, body as bytes)."""
    return http_with_headers(db, target, method)[:2]


def http_with_headers(db, target, method='GET', tags=None):
    """Asks handle_request, for another version than the tags name; returns (status, body as bytes, headers)."""
    status, headers, body = db.execute('SELECT status, headers, body FROM session_files.handle_request(%s, %s, %s)',
                                       (method, target, json.dumps({'if-none-match': tags}))).fetchone()
    return status, body.encode(), {name: value for header in headers for name, value in header.items()}


def typed(db, workspace, session, params):
    """Asks get_session_files and gives its answer in the form of http()."""
    try:
        with db.transaction():
            body, = db.execute('''SELECT session_files.get_session_files(%s, %s, %s, %s::bigint, %s, %s, %s::bigint,
                                                                         %s, %s)::text''',
                               (workspace, session, *map(params.get, PARAMETERS))).fetchone()
            return 200, body.encode()
    except psycopg.Error as error:
        status = {'22023': 422, 'P0002': 404}.get(error.sqlstate)
        if status is None:
            raise
        return status, error.diag.message_detail.encode()


def target_of(workspace, session, params, rng=None):
    """Writes a request as a raw target; with a generator, in one of the many ways that mean the same."""
    def quote(text):
        return ''.join(quote_byte(byte) for byte in text.encode())

    def quote_byte(byte):
        if bytes([byte]).isalnum() and not (rng and rng.random() < 0.1):
            return chr(byte)
        return (rng.choice(['%%%02X', '%%%02x']) if rng else '%%%02X') % byte

    params = [(name, value) for name, value in params.items() if value is not None]
    if rng:
        rng.shuffle(params)
        params = [disguised for param in params for disguised in disguise(rng, *param)]
        params += rng.choice([[], [('sort', 'x'), ('session_id', 'x'), ('', '')]])
    query = '&'.join(f'{quote(name)}={quote(str(value))}' for name, value in params)
    return f'/api/v1/workspaces/{quote(workspace)}/upload_sessions/{quote(session)}/files?{query}'


def disguise(rng, name, value):
    """Gives parameters that all together mean name=value, most often just that."""
    if rng.random() < 0.1:
        yield name, rng.choice(['1', 'ASC', 'nonsense'])
    if isinstance(value, int) and rng.random() < 0.3:
        digits = rng.choice(['{}', '{:+}', '{:_}', '{:05}']).format(value)
        yield name, rng.choice([' {}', '{}\u2003', '{}.00']).format(digits)
    elif isinstance(value, str) and model.UUID.fullmatch(value):
        yield name, spell_uuid(rng, value)
    else:
        yield name, value
    if rng.random() < 0.1:
        yield name, ''


def spell_uuid(rng, text):
    return rng.choice([text, text, text.upper(), text.replace('-', ''), '{' + text + '}', 'urn:uuid:' + text])


def random_request(rng, sessions):
    """Picks (workspace, session, parameters as the typed function takes them), now and then wrong ones."""
    session = rng.choice(list(sessions))
    workspace, files = sessions[session]
    field, order = rng.choice(SORTS)
    ids = [file[0] for file in model.sort_files(files, field, order)]

    def cursor(near=0):
        """Picks any file, or one near a position, so that pages end just before or after a window does."""
        if not ids or rng.random() < 0.02:
            return random_id(rng)
        position = near + rng.randint(-12, 12) if rng.random() < 0.5 else rng.randrange(len(ids))
        return ids[min(max(position, 0), len(ids) - 1)]

    limit = rng.choice([None, None, 0, 1, 2, 10, 99, 100, rng.randint(0, 100)])
    shown = limit or 10
    params = {'ingestion_status': rng.choice(FILTERS), 'limit': limit,
              'field': None if field == 'created_at' and rng.random() < 0.5 else field,
              'order': None if order == 'DESC' and rng.random() < 0.5 else order}
    match rng.choice(['first page', 'page', 'after', 'before', 'between']):
        case 'page':
            last = len(files) // shown + 1
            params['page_number'] = rng.choice([1, 2, last, last + 1, rng.randint(1, last), 10**9, 2**63 - 1])
        case 'after':
            params['after'] = cursor(len(ids) - 1 - shown)
        case 'before':
            params['before'] = cursor(shown)
        case 'between':
            params['after'] = cursor()
            start = ids.index(params['after']) if params['after'] in ids else 0
            params['before'] = cursor(start + shown)
    if rng.random() < 0.1:
        _, other_files = rng.choice(list(sessions.values()))
        wrong = {'ingestion_status': ['pending', 'ALL'], 'limit': [-1, 101, 2**63 - 1, -2**63],
                 'page_number': [1, 0, -1], 'before': [random_id(rng), *(file[0] for file in other_files[:1])],
                 'field': ['size', 'NAME', '\xe9"'], 'order': ['asc', 'ASC ']}
        for name in rng.sample(list(wrong), rng.choice([1, 1, 2, 6])):
            params[name] = rng.choice(wrong[name])
    if rng.random() < 0.03:
        workspace = rng.choice(WORKSPACES + ['nowhere'])
    if rng.random() < 0.03:
        session = random_id(rng)
    return workspace, session, params


def as_only_text_can(rng, workspace, session, params):
    """Makes of a request, now and then, one that the typed function could not be asked."""
    if rng.random() < 0.05:
        texts = ['abc\0', '1e1', '0x10', '10.', '.0', '10.5', '1__0', '_1', 'true', 'null', '\u0663', '9' * 30,
                 '-' + '9' * 30, '0' * 5000, '1' * 4301, session[:-1], session + 'a', session[1:].replace('-', ''),
                 session.replace('-', '', 1), session.replace('-', '') + '0', session[:-1] + 'g', session[:-1] + '\xe9',
                 random_text(rng, rng.randint(1, 9)).replace('{', '[')]    # what is wrong inside braces is left open
        params = params | {name: rng.choice(texts) for name in rng.sample(PARAMETERS, rng.choice([1, 2, 7]))}
    if rng.random() < 0.01:
        session = rng.choice(['abc', session[1:], session + '-1'])
    elif rng.random() < 0.2:
        session = spell_uuid(rng, session)
    if rng.random() < 0.01:
        workspace += '\0'
    return workspace, session, params


def check_queue(db):
    """Every PENDING file is in one row of the queue that holds good, and so can be claimed, once."""
    wrong = db.execute('''
        SELECT f.session_id, f.file_ingestion_id, count(q.id)
        FROM session_files.files f LEFT JOIN (
            SELECT session_id, generation, unnest(file_ingestion_ids) AS id FROM session_files.file_queue) q
            ON q.session_id = f.session_id AND q.generation >= f.generation AND q.id = f.file_ingestion_id
        WHERE f.ingestion_status = 'PENDING' GROUP BY 1, 2 HAVING count(q.id) <> 1''').fetchall()
    assert not wrong


def check_requests(db, rng, count):
    """Asks for every session's totals and for `count` random things, of both functions."""
    check_queue(db)
    sessions = read_sessions(db)
    requests = [(workspace, session, {'limit': 0, 'ingestion_status': status})
                for session, (workspace, _) in sessions.items() for status in FILTERS]
    requests += [random_request(rng, sessions) for _ in range(count)]
    for workspace, session, params in requests:
        target = target_of(workspace, session, params)
        compare(typed(db, workspace, session, params), model.respond(sessions, target), target)
        target = target_of(*as_only_text_can(rng, workspace, session, params), rng)
        *got, headers = http_with_headers(db, target, rng.choice(['GET', 'HEAD']), rng.choice([None, '"0"', 'W/"0",']))
        expected = model.respond_with_links(sessions, target)
        compare((*got, headers.get('Link')), expected, target)
        if expected[0] == 200:
            expected = 304, b'', None
        *got, headers = http_with_headers(db, target, tags=headers.get('ETag', '*'))
        compare((*got, headers.get('Link')), expected, ('with its version', target))


class Versions:
    """What each ETag stood for, at any time: the same files and expiry always had the same, others another."""

    FILES = """SELECT coalesce(json_agg(json_build_array(file_ingestion_id, ingestion_status, ingestion_status_reason, name)
                                        ORDER BY file_ingestion_id), '[]')::text
               FROM session_files.files WHERE session_id = %s"""

    def __init__(self):
        self.contents, self.etags = {}, {}

    def check(self, db):
        for session, workspace, expires_at in db.execute(
                'SELECT session_id::text, workspace_name, expires_at::text FROM session_files.upload_sessions').fetchall():
            files, = db.execute(self.FILES, [session]).fetchone()
            content = hashlib.sha256((expires_at + files).encode()).digest()
            _, _, headers = http_with_headers(db, target_of(workspace, session, {'limit': 0}))
            etag = headers['ETag']
            compare(self.contents.setdefault(etag, content), content, ('an ETag of two contents', session, etag))
            compare(self.etags.setdefault(content, etag), etag, ('a content of two ETags', session, etag))

    def check_copies(self, db):
        """Compares every session with a copy that one statement writes."""
        with db.transaction(force_rollback=True):
            for session, in db.execute('SELECT session_id::text FROM session_files.upload_sessions').fetchall():
                copy = str(uuid.uuid4())
                db.execute("""INSERT INTO session_files.upload_sessions (session_id, workspace_name, created_at, expires_at)
                              SELECT %s, workspace_name, created_at, expires_at FROM session_files.upload_sessions
                              WHERE session_id = %s""", (copy, session))
                db.execute("""INSERT INTO session_files.files SELECT %s, file_ingestion_id, ingestion_status,
                              ingestion_status_reason, name FROM session_files.files WHERE session_id = %s""", (copy, session))
            self.check(db)


# ---- the tests

def test_random_sessions_and_requests(db, rng, writer):
    """Random sessions and writes, random requests, against the model: equal every time."""
    for size in [0, 1, 2, rng.randint(3, 30), rng.randint(30, 300), rng.randint(300, 1000), 2000]:
        writer.create_session(size)
    check_requests(db, rng, REQUESTS)
    versions = Versions()
    for number in range(ROUNDS):
        try:
            with db.transaction(force_rollback=rng.random() < 0.2):
                db.execute(f'SET TRANSACTION ISOLATION LEVEL {rng.choice(LEVELS)}')
                writer.write()
                check_requests(db, rng, REQUESTS // 10)
                versions.check(db)
            versions.check(db)
            if number % 10 == 0:
                versions.check_copies(db)
            if rng.random() < 0.3:
                db.execute(f'{rng.choice(MAINTENANCE)} session_files.{rng.choice(TABLES)}')
            check_requests(db, rng, REQUESTS)
        except Exception as error:
            raise AssertionError(f'MODEL_SEED={SEED}, round {number} of {ROUNDS}') from error
    wrong, = db.execute('''SELECT count(*) FROM session_files.files
                           WHERE char_length(name) > 800 AND ingestion_status_reason IS DISTINCT FROM %s''',
                        [model.TOO_LONG]).fetchone()
    compare(wrong, 0, 'names over 800 characters that are not recorded as too long')


@pytest.mark.parametrize('size, limits', [(0, [10]), (1, [1, 10]), (2, [1]), (10, [3, 10]), (11, [1, 10]),
                                          (250, [7, 100])])
def test_walks(db, writer, size, limits):
    """Walking by `after`, `before` or page visits every file once, in the model's order, for every sort and filter."""
    session = writer.create_session(size)
    workspace, files = read_sessions(db)[session]

    def walk(forward, **params):
        """Goes on while there is more; gives the ids in the order of the listing."""
        ids, number, more = [], 0, True
        while more:
            target = target_of(workspace, session, params)
            status, body = http(db, target)
            compare(status, 200, target)
            page = json.loads(body)
            shown, more = [file['file_ingestion_id'] for file in page['data']], page['has_more']
            compare(len(shown) == limit or not more, True, ('more after a short page', target))
            compare(bool(shown) or number == 0, True, ('has_more was wrong before', target))
            number += 1
            ids = ids + shown if forward else shown + ids
            compare(len(ids) <= size, True, ('an endless walk', target))
            if 'page_number' in params:
                params['page_number'] += 1
            elif shown:
                params |= {'after': shown[-1]} if forward else {'before': shown[0]}
        return ids

    for field, order in SORTS:
        whole = model.sort_files(files, field, order)
        for status in FILTERS:
            expected = [file[0] for file in whole if status in (None, file[1])]
            for limit in limits:
                asked = {'field': field, 'order': order, 'ingestion_status': status, 'limit': limit}
                compare(walk(True, **asked), expected, ('after', asked))
                compare(walk(True, **asked, page_number=1), expected, ('page_number', asked))
                for end, forward, cursor in ((0, True, 'after'), (-1, False, 'before')) if whole else ():
                    start = whole[end][0]    # it need not pass the filter
                    others = [file for file in expected if file != start]
                    compare(walk(forward, **asked, **{cursor: start}), others, (cursor, start, asked))


def test_same_answer_wherever_it_is_asked(db, rng, writer):
    """Own uncommitted writes, savepoints, READ ONLY and settings do not change what is answered."""
    writer.create_session(300)
    check_requests(db, rng, 20)
    with db.transaction(force_rollback=True):
        writer.insert()
        writer.update_every_session()
        check_requests(db, rng, 20)
        with db.transaction(force_rollback=True):
            db.execute('DELETE FROM session_files.files')
            check_requests(db, rng, 5)
        check_requests(db, rng, 20)
    check_requests(db, rng, 20)

    for mode in ('READ ONLY', 'ISOLATION LEVEL REPEATABLE READ', 'ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE'):
        with db.transaction():
            db.execute(f'SET TRANSACTION {mode}')
            check_requests(db, rng, 20)
    parallel = 'debug_parallel_query' if db.info.server_version >= 160000 else 'force_parallel_mode'
    for setting in ('enable_indexscan = off', 'enable_indexonlyscan = off', 'enable_bitmapscan = off',
                    'enable_seqscan = off', "search_path = ''", 'search_path = pg_temp, public', f'{parallel} = on',
                    'plan_cache_mode = force_generic_plan', "DateStyle = 'German'", "IntervalStyle = 'sql_standard'",
                    "bytea_output = 'escape'", 'standard_conforming_strings = off'):
        with db.transaction(force_rollback=True):
            db.execute(f'SET LOCAL {setting}')
            check_requests(db, rng, 20)


def test_same_snapshot_as_the_caller(db, writer):
    """A listing in a function, in a cursor or beside a write sees what its statement sees."""
    session = writer.create_session(300)
    workspace, files = read_sessions(db)[session]
    target = target_of(workspace, session, {'limit': 100, 'field': 'name'})
    ask = sql.SQL("session_files.handle_request('GET', {})").format(target).as_string(db)
    insert = f"INSERT INTO session_files.files (session_id, name) VALUES ('{session}', gen_random_uuid()::text)"
    with db.transaction(force_rollback=True):
        db.execute(f'''CREATE FUNCTION pg_temp.ask() RETURNS session_files.http_response LANGUAGE plpgsql AS $$
                       DECLARE answer session_files.http_response;
                       BEGIN answer := {ask}; RETURN answer; END $$''')
        db.execute(f'''DECLARE held CURSOR FOR SELECT ({ask}).body, (
                           SELECT count(*) FROM session_files.files WHERE session_id = '{session}')
                       FROM generate_series(1, 3)''')
        held = model.respond({session: (workspace, files)}, target)[1].decode(), len(files)
        for _ in range(3):
            compare(db.execute('FETCH held').fetchone(), held, 'in a cursor')
            expected = model.respond(read_sessions(db), target)
            body, = db.execute(f'{insert} RETURNING ({ask}).body').fetchone()
            compare(body.encode(), expected[1], 'in the statement that writes')
            expected = model.respond(read_sessions(db), target)
            status, body = db.execute('SELECT status, body FROM pg_temp.ask()').fetchone()
            compare((status, body.encode()), expected, 'in a function, after a write')


def test_latin1_client(db, writer):
    """A client with another encoding reads the same characters, as far as it has them."""
    session, = db.execute("SELECT session_files.create_session('acme')::text").fetchone()
    for name in ('\xe9t\xe9', 'e', '\x7f\x01"\\', '\xff' * 800):
        db.execute('INSERT INTO session_files.files (session_id, name) VALUES (%s, %s)', (session, name))
    sessions = read_sessions(db)
    db.execute('SET client_encoding = LATIN1')
    for params in [{'field': field, 'order': order} for field, order in SORTS] + [{'field': '\xe9'}]:
        target = target_of('acme', session, params)
        expected = model.respond(sessions, target)
        compare(http(db, target), expected, target)
        compare(typed(db, 'acme', session, params), expected, target)


@pytest.mark.parametrize('level', ['REPEATABLE READ', 'SERIALIZABLE'])
def test_deleting_a_session_with_an_old_snapshot(db, database, writer, level):
    """A transaction that deletes a session and does not see what others did to its files leaves no count behind."""
    session = writer.create_session(10)
    with connect(database) as own:
        try:
            with own.transaction():
                own.execute(f'SET TRANSACTION ISOLATION LEVEL {level}')
                own.execute('SELECT FROM session_files.workspaces')    # takes the snapshot
                with db.transaction():
                    db.execute(f'SET TRANSACTION ISOLATION LEVEL {level}')
                    db.execute('DELETE FROM session_files.files')
                own.execute('DELETE FROM session_files.upload_sessions WHERE session_id = %s', [session])
        except errors.SerializationFailure:    # it may be refused
            pass
    db.execute('''INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES (%s, 'acme')
                  ON CONFLICT DO NOTHING''', [session])
    check_requests(db, writer.rng, 10)


def test_totals_under_concurrent_writers(db, database, rng, writer):
    """While many write to the same sessions at every isolation level, a snapshot's totals are its count(*)."""
    sessions = [writer.create_session(size) for size in (200, 20, 0, 0)]
    doomed = sessions[-1]    # deleted and made again now and then, with the same id: no count may survive it
    outcomes, problems, writing, versions = [], [], threading.Event(), Versions()

    def change(own, mine, session):
        """Runs one statement, or as many as rows that other writers lock in another order."""
        if mine.rng.random() < 0.03:
            own.execute('DELETE FROM session_files.upload_sessions WHERE session_id = %s', [doomed])
            own.execute('''INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES (%s, %s)
                           ON CONFLICT DO NOTHING''', (doomed, WORKSPACES[0]))
        match mine.rng.randrange(6):
            case 0 | 1:
                rows = [Row(session, random_id(mine.rng), *random_state(mine.rng), f'{mine.rng.getrandbits(64):x}')
                        for _ in range(mine.rng.randint(1, 20))]
                own.execute(f'INSERT INTO session_files.files ({COLUMNS}) SELECT {COLUMNS} FROM {SOURCE}', [as_json(rows)])
            case 2 | 3:
                for row in mine.changed_rows(session, 10):
                    own.execute('''UPDATE session_files.files SET ingestion_status = %s, ingestion_status_reason = %s
                                   WHERE session_id = %s AND file_ingestion_id = %s''', (*row[2:4], *row[:2]))
            case 4:
                own.execute('DELETE FROM session_files.files WHERE session_id = %s AND file_ingestion_id = ANY (%s)',
                            (session, mine.ids(session, 8)))
            case 5:
                own.execute('SELECT session_files.register_files(%s, %s)',
                            (session, [f'{mine.rng.getrandbits(64):x}' for _ in range(5)]))
                own.execute('SELECT session_files.finish_files(%s, %s::uuid[])', (session, mine.ids(session, 8)))

    def write_once(own, mine):
        """Runs one transaction of one to four steps, some of them rolled back to a savepoint."""
        with own.transaction(force_rollback=mine.rng.random() < 0.2):
            own.execute(f'SET TRANSACTION ISOLATION LEVEL {mine.rng.choice(LEVELS)}')
            for _ in range(mine.rng.randint(1, 4)):
                with own.transaction(force_rollback=mine.rng.random() < 0.2):
                    change(own, mine, mine.rng.choice([sessions[0], *sessions]))

    def write(own, writer_number):
        mine = Writer(own, random.Random(f'{SEED} writer {writer_number}'))
        own.execute("SET deadlock_timeout = '20ms'")
        for number in range(max(ROUNDS // 2, 10)):
            try:
                if number % 10 == 0:
                    own.execute('VACUUM (TRUNCATE false) session_files.files')    # to truncate, it waits for readers
                write_once(own, mine)
                outcomes.append('done')
            except (errors.DeadlockDetected, errors.SerializationFailure) as error:
                outcomes.append(error.sqlstate)
            except (errors.NoDataFound, errors.ForeignKeyViolation) as error:    # a file or session was just deleted
                outcomes.append(error.sqlstate)

    def check_totals(own):
        for session in sessions:
            for status in FILTERS:
                for workspace, count in own.execute('''
                        SELECT workspace_name, (SELECT count(*) FROM session_files.files f
                                                WHERE f.session_id = s.session_id
                                                AND coalesce(ingestion_status::text = %s, true))
                        FROM session_files.upload_sessions s WHERE session_id = %s''', (status, session)):
                    target = target_of(workspace, session, {'limit': 3, 'ingestion_status': status})
                    compare(json.loads(http(own, target)[1])['total'], count, target)

    def read(own, _):
        number = 0
        while number < 10 or writing.is_set():
            number += 1
            with own.transaction():
                own.execute('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ')
                check_totals(own)
                if number % 10 == 0:
                    check_requests(own, rng, 5)
                versions.check(own)

    def start(work, number):
        def run():
            try:
                with connect(database) as own:
                    work(own, number)
            except Exception as problem:
                problems.append(problem)
        thread = threading.Thread(target=run)
        thread.start()
        return thread

    writing.set()
    reader, writers = start(read, 0), [start(write, number) for number in range(6)]
    for thread in writers:
        thread.join()
    writing.clear()
    reader.join()
    if problems:
        raise ExceptionGroup(f'MODEL_SEED={SEED}', problems)
    compare(outcomes.count('done') > len(outcomes) / 4, True, ('few transactions went through', outcomes))
    check_totals(db)
    check_requests(db, rng, REQUESTS)
    versions.check_copies(db)
