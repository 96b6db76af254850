"""Those who write, by every way there is, and those who disturb them."""

import json
import tempfile
import threading
import time
import uuid

import psycopg

import ledger
import model
from client import BUSY, GIVEN_UP, RETRIED, Client, Failure, Lost
from writes import Names, Row, copy_rows, insert_rows, merge_rows, random_state, register_names, update_rows, upsert_rows

LEVELS = ['READ COMMITTED'] * 3 + ['REPEATABLE READ'] * 2 + ['SERIALIZABLE']
# What plain SQL breaks: a name or an id is there already, a session or workspace is gone, a state goes with no name of that length.
CONSTRAINTS = {'23503', '23505', '23514'}
SHARED = ['shared 0', 'shared 1', 'shared 2']
# With more files than this, writers rather remove some.
MANY_FILES = 12000
# That keep a ledger.
CLIENTS = 3

ACTIONS = {}


def action(*states, weight=1, prepares=True):
    """Marks what a writer can do, with the SQLSTATEs that it may be told."""
    def mark(method):
        ACTIONS[method.__name__] = method
        method.states, method.weight, method.prepares = set(states), weight, prepares
        return method
    return mark


def new_id(rng):
    """Makes an id of version 7 that never was."""
    return str(uuid.UUID(int=int((time.time() - rng.choice([0, 0, rng.random() * 1e6])) * 1000) << 80 | 7 << 76
                         | rng.getrandbits(12) << 64 | 2 << 62 | rng.getrandbits(62)))


class Writer(Client):
    """Takes random actions in sessions that all writers share."""

    stage = 'writers'

    def __init__(self, shared, name):
        super().__init__(shared, name)
        self.names = Names(self.rng)
        self.deck, self.leases, self.prepared = [], [], 0
        self.sessions, self.steps = [], 0
        self.gone = []    # ids of files that were deleted, or would have been

    # ---- transactions

    def step(self):
        try:
            if self.steps % 10 == 0:
                self.look_around()
            self.steps += 1
            if self.sessions:
                self.write()
        except Lost:
            self.count('kill', 'lost connection')

    def look_around(self):
        """Notes which sessions there are, and how many files; there are always some."""
        self.guarded('look around', self.look)

    def look(self):
        self.sessions = [row[0] for row in self.db.execute(
            "SELECT session_id::text FROM session_files.upload_sessions WHERE workspace_name LIKE 'shared %' OR workspace_name LIKE 'passing %'")]
        self.files = self.value('SELECT coalesce(sum(failed + finished + pending), 0) FROM session_files.file_counts')
        while len(self.sessions) < 6:
            self.sessions.append(str(self.value('SELECT session_files.create_session(%s, %s)',
                                                [self.rng.choice(SHARED), self.rng.choice(['KEEP', 'OVERWRITE', 'FAIL'])])))

    def guarded(self, kind, do, states=()):
        """Calls do; gives 'ok', or the SQLSTATE of an error that is allowed."""
        try:
            do()
            return 'ok'
        except psycopg.Error as error:
            self.check_lost(error)
            if error.sqlstate not in RETRIED | GIVEN_UP | set(states):
                raise Failure(f'{kind}: {error.sqlstate} {error}') from error
            self.roll_back()
            return error.sqlstate

    def roll_back(self):
        """Ends a transaction that failed, even if that is canceled."""
        while self.db.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            try:
                self.db.execute('ROLLBACK')
            except psycopg.Error as error:
                self.check_lost(error)
                if error.sqlstate not in GIVEN_UP:
                    raise

    def write(self):
        """A transaction of some actions, again as long as it cannot be serialized."""
        plan = [self.draw() for _ in range(self.rng.choice([1, 1, 2, 3, 5]))]
        level = self.rng.choice(LEVELS)
        for _ in range(4):
            self.done, self.current = [], 'begin'
            outcome = self.guarded_plan(plan, level)
            self.count('transaction ' + level, outcome)
            if outcome == 'ok':
                for name in self.done:
                    self.count(name, 'ok')
            elif outcome not in ('rolled back', 'prepared'):
                self.count(self.current, outcome)
            if outcome not in RETRIED:
                break

    def draw(self):
        """Takes the next action of a deck that holds each of them."""
        if not self.deck:
            self.deck = [name for name, method in ACTIONS.items() for _ in range(method.weight)]
            self.rng.shuffle(self.deck)
        if getattr(self, 'files', 0) > MANY_FILES and self.rng.random() < 0.3:
            return self.rng.choice(['delete_session', 'delete_files', 'delete_using'])
        return self.deck.pop()

    def guarded_plan(self, plan, level):
        ending = []

        def do():
            self.db.execute(f'BEGIN ISOLATION LEVEL {level}')
            if self.rng.random() < 0.05:
                self.db.execute(f'SET LOCAL {self.rng.choice(["statement_timeout", "lock_timeout"])} = {self.rng.choice([1, 5, 50])}')
            self.run_plan(plan)
            ending.append(self.finish_transaction(plan))
        states = set().union(*(ACTIONS[name].states for name in plan))
        outcome = self.guarded(plan, do, states)
        return ending[0] if outcome == 'ok' else outcome

    def finish_transaction(self, plan):
        """Commits, most often; gives what became of the transaction."""
        fate = self.rng.random()
        self.current = 'commit'
        if fate < 0.12:
            self.db.execute('ROLLBACK')
            return 'rolled back'
        if fate < 0.22 and all(ACTIONS[name].prepares for name in plan):
            self.prepared += 1
            self.db.execute(f"PREPARE TRANSACTION 'shared {self.name} {self.prepared}'")
            return 'prepared'
        self.db.execute('COMMIT')
        return 'ok'

    def run_plan(self, plan):
        """Does the actions of a transaction, some of them within savepoints, nested, of which some are rolled back."""
        for number, name in enumerate(plan):
            if self.rng.random() < 0.4:
                self.run_in_savepoint(plan[number:], f's{number}')
                return
            self.act(name)

    def run_in_savepoint(self, plan, savepoint):
        self.db.execute(f'SAVEPOINT {savepoint}')
        kept = len(self.done)
        fate = self.rng.random()
        try:
            self.act(plan[0])
            if fate < 0.3:
                self.run_plan(plan[1:])
        except psycopg.Error as error:
            if self.db.closed or error.sqlstate not in ACTIONS[self.current].states:
                raise
            self.count(self.current, error.sqlstate)
            self.db.execute(f'ROLLBACK TO {savepoint}')
            del self.done[kept:]
            self.count('savepoint', 'after an error')
            return
        if fate < 0.15 or 0.3 <= fate < 0.5:
            self.db.execute(f'ROLLBACK TO {savepoint}')
            del self.done[kept:]
            self.count('savepoint', 'rolled back')
        elif fate < 0.8:
            self.db.execute(f'RELEASE {savepoint}')
            self.count('savepoint', 'released')
        if fate >= 0.3:
            self.run_plan(plan[1:])

    def act(self, name):
        self.current = name
        self.count(name, 'tried')
        if ACTIONS[name](self) is not False:
            self.done.append(name)

    # ---- what actions work with

    def one(self):
        return BUSY if self.rng.random() < 0.3 else self.rng.choice(self.sessions)

    def passing(self):
        """Picks a session that may go."""
        return self.rng.choice([session for session in self.sessions if session != BUSY])

    def ids(self, session, most, condition='true'):
        most = self.rng.choice([1, self.rng.randint(1, most)])
        return [row[0] for row in self.db.execute(f'''SELECT file_ingestion_id::text FROM session_files.files
            WHERE session_id = %s AND {condition} ORDER BY random() LIMIT {most}''', [session])]

    def rows(self, session, count):
        return [Row(session, new_id(self.rng), *random_state(self.rng), self.names.new()) for _ in range(count)]

    def rows_there(self, session, most):
        """Gives rows that are there, with another state. Meanwhile they may be deleted: then an upsert brings their ids back."""
        return [Row(session, row[0], *random_state(self.rng), row[1]) for row in self.db.execute(
            f'''SELECT file_ingestion_id::text, name FROM session_files.files WHERE session_id = %s AND char_length(name) <= 800
                ORDER BY random() LIMIT {self.rng.randint(1, most)}''', [session])]

    def tell(self, statement, parameters, expected):
        """Executes what returns a row for each of some files."""
        rows = self.db.execute(statement, parameters).fetchall()
        if len(rows) != expected:
            raise Failure(f'{len(rows)} rows for {expected} files: {statement} {parameters}')
        return rows

    def register(self, count, extra=()):
        names = [self.names.new() for _ in range(count)] + list(extra)
        self.rng.shuffle(names)
        register_names(self.db, self.one(), names)

    # ---- functions of the extension

    @action('P0002', '55000', weight=2)
    def register_few(self):
        self.register(self.rng.randint(1, 9))

    @action('P0002', '55000')
    def register_many(self):
        self.register(self.rng.randint(100, 400))

    @action('P0002', '55000')
    def register_again(self):
        self.register(2, ['shared', 'name', 'name', '\u00e9\U0001f600', 'x' * 900, 'x' * 901])

    @action('P0002', weight=2)
    def finish(self):
        session = self.one()
        ids = self.ids(session, 200)
        self.tell('SELECT * FROM session_files.finish_files(%s, %s::uuid[])', [session, ids], len(ids))

    @action('P0002')
    def fail(self):
        session = self.one()
        ids = self.ids(session, 50)
        self.tell('SELECT * FROM session_files.fail_files(%s, %s::uuid[], %s)', [session, ids, self.rng.choice(model.REASONS)], len(ids))

    @action('P0002', weight=3)
    def claim(self):
        workspace = self.rng.choice(SHARED)
        session = self.one() if self.rng.random() < 0.5 else None
        rows = self.db.execute('SELECT session_id::text, file_ingestion_id::text, lease_token FROM session_files.claim_files(%s, %s, %s, %s, %s)',
                               [self.name, self.rng.choice([1, 5, 50, 300]), self.rng.choice(['10 ms', '200 ms', '2 s', '3 s']),
                                None if session else workspace, session]).fetchall()
        leases = {}
        for session, file, token in rows:
            leases.setdefault((session, token), []).append(file)
        self.leases = ([(*key, ids) for key, ids in leases.items()] + self.leases)[:20]
        return bool(rows)

    @action()
    def claim_from_anybody(self):
        """Of all sessions, also those of the ledgers; taken back."""
        self.db.execute('SAVEPOINT claim')
        self.db.execute('SELECT * FROM session_files.claim_files(%s, %s)', [self.name, self.rng.choice([1, 500])])
        self.db.execute('ROLLBACK TO claim')

    def with_lease(self, statement, *parameters):
        """Does something with files of a lease, or with some of them; whether it still holds them, the answer says."""
        if not self.leases or self.rng.random() < 0.7:
            self.claim()
        if not self.leases:
            return False
        session, token, ids = self.rng.choice(self.leases[:3])
        ids = self.rng.choice([ids, self.rng.sample(ids, self.rng.randint(1, len(ids)))])
        rows = self.tell(statement, [session, ids, *parameters, token], len(ids))
        return any(row[-1] for row in rows)

    @action('P0002', weight=2)
    def finish_lease(self):
        return self.with_lease('SELECT file_ingestion_id, changed FROM session_files.finish_files(%s, %s::uuid[], %s)')

    @action('P0002', weight=2)
    def fail_lease(self):
        return self.with_lease('SELECT file_ingestion_id, changed FROM session_files.fail_files(%s, %s::uuid[], %s, %s)',
                               self.rng.choice(['SLOWDOWN', 'INGESTING_FILE_FAILED', 'EMPTY_FILE']))

    @action('P0002', weight=2)
    def extend_lease(self):
        return self.with_lease("SELECT file_ingestion_id, lease_expires_at FROM session_files.extend_lease(%s, %s::uuid[], %s, '1 second')")

    @action('P0002', weight=2)
    def release_lease(self):
        return self.with_lease('SELECT file_ingestion_id, changed FROM session_files.release_files(%s, %s::uuid[], %s)')

    @action('P0002', '55000', weight=2)
    def retry_failed(self):
        reasons = self.rng.choice([None, ['SLOWDOWN', 'EMPTY_FILE']])
        return self.value('SELECT session_files.retry_failed(%s, %s::session_files.ingestion_status_reason[])', [self.one(), reasons]) > 0

    @action('P0002')
    def create_session(self):
        self.value('SELECT session_files.create_session(%s, %s, %s)',
                   [self.rng.choice(SHARED), self.rng.choice(['KEEP', 'OVERWRITE', 'FAIL']), self.rng.choice([None, None, '2 seconds', '1 hour'])])

    @action('P0002')
    def close_session(self):
        self.db.execute('SELECT session_files.close_session(%s)', [self.one()])

    @action('23505')
    def create_workspace(self):
        name = f'passing {self.name} {self.rng.random()}'
        self.db.execute('SELECT session_files.create_workspace(%s)', [name])
        self.db.execute('SELECT session_files.create_session(%s)', [name])

    @action()
    def maintain(self):
        self.db.execute('SELECT * FROM session_files.maintain(%s)', [self.rng.choice([1, 50, 1000])])

    # ---- plain SQL

    @action(*CONSTRAINTS)
    def insert(self):
        self.db.execute('INSERT INTO session_files.files (session_id, name) VALUES (%s, %s)', [self.one(), self.names.new()])

    @action(*CONSTRAINTS)
    def insert_into_several_sessions(self):
        rows = [row for _ in range(5) for row in self.rows(self.one(), self.rng.randint(0, 8))]
        insert_rows(self.db, rows)

    @action(*CONSTRAINTS)
    def insert_select(self):
        """Copies files of a session to another one."""
        self.db.execute('''INSERT INTO session_files.files (session_id, ingestion_status, ingestion_status_reason, name)
                           SELECT %s, ingestion_status, ingestion_status_reason, left(name, 700) || %s FROM session_files.files
                           WHERE session_id = %s AND char_length(name) <= 700 LIMIT 40''', [self.one(), f' {self.rng.random()}', self.one()])

    @action(*CONSTRAINTS)
    def copy(self):
        copy_rows(self.db, self.rows(self.one(), self.rng.choice([1, 20, 200])))

    @action(*CONSTRAINTS)
    def on_conflict(self):
        session = self.one()
        upsert_rows(self.db, self.rng, self.rows_there(session, 20) + self.rows(session, 5))

    @action(*CONSTRAINTS)
    def merge(self):
        session = self.one()
        merge_rows(self.db, self.rows_there(session, 20) + self.rows(session, 5))

    @action(*CONSTRAINTS, weight=2)
    def update_from(self):
        update_rows(self.db, self.rows_there(self.one(), 30))

    @action(*CONSTRAINTS)
    def update_every_session(self):
        self.db.execute('''UPDATE session_files.files SET ingestion_status = %s, ingestion_status_reason = %s
                           WHERE char_length(name) = %s AND session_id = ANY (%s)''',
                        [*random_state(self.rng), self.rng.randint(1, 15), self.sessions])

    @action(*CONSTRAINTS)
    def rename_files(self):
        session = self.one()
        self.db.execute('''UPDATE session_files.files SET name = left(name, 700) || %s WHERE session_id = %s AND file_ingestion_id = ANY (%s)
                           AND char_length(name) <= 800''', [f' {self.rng.random()}', session, self.ids(session, 20)])

    @action(*CONSTRAINTS)
    def change_ids(self):
        session = self.one()
        self.db.execute('UPDATE session_files.files SET file_ingestion_id = session_files.uuid7() WHERE session_id = %s AND file_ingestion_id = ANY (%s)',
                        [session, self.ids(session, 20)])

    @action(*CONSTRAINTS, weight=2)
    def move_files(self):
        start, goal = self.one(), self.one()
        self.db.execute('''UPDATE session_files.files SET session_id = %s WHERE session_id = %s AND file_ingestion_id = ANY (%s)''',
                        [goal, start, self.ids(start, 30)])

    @action(*CONSTRAINTS)
    def move_files_and_delete_session(self):
        """In one statement, in either order."""
        start, goal = self.passing(), self.one()
        self.db.execute(self.rng.choice([
            '''WITH gone AS (DELETE FROM session_files.upload_sessions WHERE session_id = %(start)s)
               UPDATE session_files.files SET session_id = %(goal)s WHERE session_id = %(start)s''',
            '''WITH gone AS (DELETE FROM session_files.upload_sessions WHERE session_id = %(start)s RETURNING session_id)
               UPDATE session_files.files AS f SET session_id = %(goal)s FROM gone WHERE f.session_id = gone.session_id''']),
            {'start': start, 'goal': goal})

    @action(*CONSTRAINTS)
    def delete_files(self):
        session = self.one()
        self.db.execute('DELETE FROM session_files.files WHERE session_id = %s AND file_ingestion_id = ANY (%s)', [session, self.ids(session, 300)])

    @action(*CONSTRAINTS, weight=3)
    def bring_back(self):
        """Deletes files, some of which may be claimed, and inserts others under their ids; perhaps only later, or elsewhere."""
        session = self.one()
        self.gone += self.db.execute('''DELETE FROM session_files.files WHERE session_id = %s AND file_ingestion_id = ANY (%s)
                                        RETURNING session_id::text, file_ingestion_id::text''', [session, self.ids(session, 20)]).fetchall()
        self.rng.shuffle(self.gone)
        back, self.gone = self.gone[:30], self.gone[30:500]
        rows = [Row(where, id, *random_state(self.rng), self.names.new()) for where, id in back]
        insert_rows(self.db, rows, 'ON CONFLICT (session_id, file_ingestion_id) DO NOTHING')

    @action(*CONSTRAINTS)
    def replace_in_a_statement(self):
        """Inserts some files under their own ids, and goes on to delete the others."""
        session = self.one()
        self.db.execute(f'''WITH gone AS (DELETE FROM session_files.files WHERE session_id = %s AND file_ingestion_id = ANY (%s)
                            AND char_length(name) <= 800 RETURNING session_id, file_ingestion_id, name)
                            INSERT INTO session_files.files (session_id, file_ingestion_id, name) SELECT * FROM gone LIMIT {self.rng.randint(1, 5)}''',
                        [session, self.ids(session, 10)])

    @action(*CONSTRAINTS)
    def move_and_replace(self):
        """Gives files other ids, and their ids to others."""
        session = self.one()
        moved = self.db.execute('''UPDATE session_files.files SET file_ingestion_id = session_files.uuid7() WHERE session_id = %s
                                   AND file_ingestion_id = ANY (%s) AND char_length(name) <= 800 RETURNING file_ingestion_id::text''',
                                [session, ids := self.ids(session, 5)]).fetchall()
        rows = [Row(session, id, *random_state(self.rng), self.names.new()) for id in ids[:len(moved)]]
        insert_rows(self.db, rows, 'ON CONFLICT (session_id, file_ingestion_id) DO NOTHING')

    @action(*CONSTRAINTS)
    def delete_using(self):
        self.db.execute('''DELETE FROM session_files.files AS f USING session_files.upload_sessions AS s
                           WHERE s.session_id = f.session_id AND s.session_id = %s AND f.ingestion_status = %s''',
                        [self.one(), self.rng.choice(['FINISHED', 'FAILED'])])

    @action(*CONSTRAINTS)
    def delete_session(self):
        self.db.execute('DELETE FROM session_files.upload_sessions WHERE session_id = %s', [self.passing()])

    @action()
    def expire_session(self):
        self.db.execute('''UPDATE session_files.upload_sessions SET expires_at = greatest(created_at + interval '1 us', clock_timestamp() - interval '3 s')
                           WHERE session_id = %s''', [self.passing()])

    @action()
    def reopen_session(self):
        self.db.execute("UPDATE session_files.upload_sessions SET status = 'OPEN', expires_at = clock_timestamp() + interval '1 hour' WHERE session_id = %s",
                        [self.one()])

    @action(*CONSTRAINTS)
    def rename_workspace(self):
        old = self.db.execute("SELECT name FROM session_files.workspaces WHERE name LIKE 'passing %' ORDER BY random() LIMIT 1").fetchone()
        if not old:
            return False
        self.db.execute('UPDATE session_files.workspaces SET name = %s WHERE name = %s', [f'passing {self.rng.random()}', old[0]])

    @action(*CONSTRAINTS)
    def delete_workspace(self):
        old = self.db.execute("SELECT name FROM session_files.workspaces WHERE name LIKE 'passing %' ORDER BY random() LIMIT 1").fetchone()
        if not old:
            return False
        self.db.execute('DELETE FROM session_files.upload_sessions WHERE workspace_name = %s', old)
        self.db.execute('DELETE FROM session_files.workspaces WHERE name = %s', old)

    @action(*CONSTRAINTS)
    def many_writes_in_a_statement(self):
        session = self.one()
        ids = self.ids(session, 30)
        self.db.execute('''
            WITH removed AS (DELETE FROM session_files.files WHERE session_id = %(session)s AND file_ingestion_id = ANY (%(some)s) RETURNING name),
                added AS (INSERT INTO session_files.files (session_id, name) SELECT %(other)s, left(name, 700) || %(tail)s FROM removed RETURNING 1),
                settled AS (UPDATE session_files.files SET ingestion_status = 'FINISHED', ingestion_status_reason = NULL
                    WHERE session_id = %(session)s AND file_ingestion_id = ANY (%(others)s) AND char_length(name) <= 800 RETURNING 1),
                opened AS (UPDATE session_files.files SET ingestion_status = 'PENDING', ingestion_status_reason = NULL
                    WHERE session_id = %(other)s AND ingestion_status = 'FAILED' AND char_length(name) < 9 RETURNING 1)
            SELECT (SELECT count(*) FROM added), (SELECT count(*) FROM settled)''',
            {'session': session, 'other': self.one(), 'some': ids[::2], 'others': ids[1::2], 'tail': f' {self.rng.random()}'})

    @action('23505', *CONSTRAINTS)
    def fail_in_the_middle(self):
        """A statement that fails when it has written some rows."""
        rows = self.rows(self.one(), 5)
        try:
            self.db.execute('SAVEPOINT middle')
            insert_rows(self.db, rows + rows[:1])
        except psycopg.errors.IntegrityError:
            self.db.execute('ROLLBACK TO middle')
            return
        raise Failure('a name was inserted twice')

    @action(*CONSTRAINTS)
    def block_with_exceptions(self):
        names = json.dumps([self.names.new() for _ in range(4)] * 2)
        self.db.execute(f'''DO $block$
            DECLARE
                given text;
            BEGIN
                FOR given IN SELECT json_array_elements_text({psycopg.sql.Literal(names).as_string(self.db)}::json) LOOP
                    BEGIN
                        INSERT INTO session_files.files (session_id, name) VALUES ('{self.one()}', given);
                        IF random() < 0.2 THEN
                            RAISE EXCEPTION USING ERRCODE = 'P0001';
                        END IF;
                    EXCEPTION WHEN unique_violation OR raise_exception THEN
                        UPDATE session_files.files SET ingestion_status = 'FAILED', ingestion_status_reason = 'UNKNOWN_ERROR'
                            WHERE session_id = '{self.one()}' AND name = given AND char_length(name) <= 800;
                    END;
                END LOOP;
            END $block$''')

    @action(*CONSTRAINTS, prepares=False)
    def cursor_with_hold(self):
        """Changes files where a cursor stands, and leaves another one behind."""
        self.db.execute(f'''CLOSE ALL; DECLARE held CURSOR WITH HOLD FOR SELECT * FROM session_files.files WHERE session_id = '{self.one()}' LIMIT 50;
            DECLARE here CURSOR FOR SELECT * FROM session_files.files WHERE session_id = '{self.one()}' AND char_length(name) <= 800 FOR UPDATE''')
        for _ in range(5):
            if self.db.execute('FETCH here').fetchone():
                self.db.execute('UPDATE session_files.files SET ingestion_status = %s, ingestion_status_reason = %s WHERE CURRENT OF here',
                                random_state(self.rng))
        self.db.execute('CLOSE here')

    @action()
    def truncate_and_take_back(self):
        self.db.execute('SAVEPOINT truncate; SET LOCAL lock_timeout = 1000')
        try:
            self.db.execute('TRUNCATE session_files.files')
            self.insert_after_truncate()
        except (psycopg.errors.LockNotAvailable, psycopg.errors.ObjectInUse):
            # Or a cursor of this transaction is open.
            self.db.execute('ROLLBACK TO truncate')
            return False
        self.db.execute('ROLLBACK TO truncate')

    def insert_after_truncate(self):
        if self.value('''SELECT (SELECT count(*) FROM session_files.file_counts) + (SELECT count(*) FROM session_files.file_queue)''') != 0:
            raise Failure('counts or queue after TRUNCATE')


class Killer(Client):
    """Cancels what writers do, and kills their backends."""

    stage = 'writers'

    def step(self):
        time.sleep(self.rng.uniform(0, 0.8))
        pids = [row[0] for row in self.db.execute("SELECT pid FROM pg_stat_activity WHERE application_name ~ '^(torture writer|ledger)' ORDER BY pid")]
        if not pids:
            return
        pid = self.rng.choice(pids)
        if self.rng.random() < 0.6:
            self.db.execute('SELECT pg_cancel_backend(%s)', [pid])
            self.count('cancel', 'ok')
        else:
            self.shared.kill(pid)
            self.db.execute('SELECT pg_terminate_backend(%s)', [pid])
            self.count('kill', 'ok')


class Resolver(Client):
    """Commits or rolls back what was prepared, after a while."""

    def step(self):
        time.sleep(0.02)
        for gid, in self.db.execute('''SELECT gid FROM pg_prepared_xacts WHERE gid LIKE 'shared %%'
                                       AND prepared < clock_timestamp() - %s * interval '1 second' ''', [self.rng.random() ** 3]).fetchall():
            word = 'COMMIT' if self.rng.random() < 0.7 else 'ROLLBACK'
            try:
                self.db.execute(f"{word} PREPARED '{gid}'")
                self.count(f'{word} PREPARED', 'ok')
            except psycopg.errors.ObjectNotInPrerequisiteState:
                # The one who prepared it is not done with that yet.
                self.count(f'{word} PREPARED', '55000')


class Housekeeper(Client):
    """Vacuums and reindexes while all others work."""

    WORK = {
        'VACUUM {0}': 6, 'VACUUM (FREEZE, INDEX_CLEANUP ON) {0}': 3, 'ANALYZE {0}': 3, 'REINDEX TABLE CONCURRENTLY {0}': 4,
        'REINDEX INDEX CONCURRENTLY {1}': 4, 'REINDEX INDEX {1}': 1, 'CREATE INDEX ON session_files.files (ingestion_status, generation)': 1,
        'VACUUM FULL {0}': 1, 'CLUSTER {0} USING {2}': 1, 'PILE UP SLOTS': 3}
    TABLES = ['files', 'files', 'file_counts', 'file_queue', 'upload_sessions']

    def __init__(self, shared, name):
        super().__init__(shared, name)
        self.deck = []

    def step(self):
        if not self.deck:
            self.deck = [work for work, weight in self.WORK.items() for _ in range(weight)]
            self.rng.shuffle(self.deck)
        work = self.deck.pop()
        try:
            self.db.execute('SET lock_timeout = 5000')
            if work == 'PILE UP SLOTS':
                self.pile_up_slots()
            else:
                self.db.execute(self.statement(work))
            self.count(work, 'ok')
        except psycopg.Error as error:
            if error.sqlstate not in RETRIED | GIVEN_UP:
                raise
            self.count(work, error.sqlstate)
        self.tidy()
        time.sleep(self.rng.uniform(0, 0.3))

    def statement(self, work):
        table = self.rng.choice(self.TABLES)
        indexes = [row[0] for row in self.db.execute('''SELECT indexrelid::regclass::text FROM pg_index
            WHERE indrelid = %s::regclass AND indisvalid AND indpred IS NULL ORDER BY 1''', [f'session_files.{table}'])]
        index = self.rng.choice(indexes)
        return work.format(f'session_files.{table}', index, index.partition('.')[2])

    def tidy(self):
        """Drops indexes of its own, and what a REINDEX that was given up left."""
        for name, in self.db.execute(r'''SELECT indexrelid::regclass::text FROM pg_index
                WHERE indexrelid::regclass::text ~ '(_ccnew|_ccold)[0-9]*$|files_ingestion_status_generation_idx' ''').fetchall():
            try:
                self.db.execute(f'SET lock_timeout = 300; DROP INDEX IF EXISTS {name}')
            except psycopg.Error as error:
                if error.sqlstate not in RETRIED | GIVEN_UP:
                    raise

    def pile_up_slots(self):
        """Gives a session more slots of counts than there may be, for the writers to merge."""
        with self.db.transaction():
            # Their number is that of a transaction, which no other takes; they add up to nothing.
            self.db.execute('''INSERT INTO session_files.file_counts (session_id, slot, failed, finished, pending, digest)
                SELECT session_id, (1::bigint << 60) + pg_current_xact_id()::text::bigint * 100 + n, 1 - 2 * (n %% 2), 2 * (n %% 2) - 1, n / 2 * (1 - 2 * (n %% 2)), n / 2
                    FROM session_files.upload_sessions, generate_series(2, 41) AS n WHERE session_id = %s FOR KEY SHARE OF upload_sessions''', [BUSY])


class Keeper(Client):
    """Has clients that keep ledgers write for a while, and compares; then truncates, so that all begin with nothing."""

    stage = 'writers'

    def __init__(self, shared, name):
        super().__init__(shared, name)
        self.loads = 0

    def step(self):
        self.loads += 1
        with tempfile.TemporaryDirectory() as folder:
            stop = threading.Event()
            threading.Thread(target=self.stop_later, args=[stop, self.rng.uniform(3, 15)]).start()
            ledger.run_clients(self.shared.conninfo, self.shared.seed, folder, f'load{self.loads}', CLIENTS, RETRIED | GIVEN_UP, stop)
            ends, _ = ledger.verify(self.shared.conninfo, folder)
        for end, number in ends.items():
            self.count('ledger', end, number)
        self.count('ledgers compared', 'ok')
        for gid, in self.db.execute("SELECT gid FROM pg_prepared_xacts WHERE gid NOT LIKE 'shared %'").fetchall():
            self.db.execute(f"ROLLBACK PREPARED '{gid}'")
        self.truncate()

    def stop_later(self, stop, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.shared.stops[self.stage].wait(0.1):
            pass
        stop.set()

    def truncate(self):
        """Removes all files of all sessions. That needs the tables of the counts and the queue, too, and there are deadlocks."""
        while True:
            try:
                with self.db.transaction():
                    self.db.execute('TRUNCATE session_files.files')
                    self.db.execute("DELETE FROM session_files.upload_sessions WHERE workspace_name = 'load'")
                break
            except psycopg.errors.DeadlockDetected:
                self.count('TRUNCATE', '40P01')
        self.shared.truncations.value += 1
        self.count('TRUNCATE', 'ok')
