#!/usr/bin/python3
"""The clients of 006_chaos.pl, which starts and kills them: chaos.py CONNINFO SEED ROLE NAME [NUMBER]

    work       claims files, and ends, loses or drops them, as their names say
    register   fills those sessions of the table `plan` that have its NUMBER, then closes them or lets them expire
    maintain   calls maintain()
    listen     prints which sessions are announced to be done
    race       NUMBER rounds in which 8 threads end the last files of sessions at the same moment

Each connects again when the server has gone, and ends with a traceback at whatever else goes wrong. What happens to a file is written
to the table `audit` by the transaction in which it happens.
"""

import os
import pathlib
import random
import sys
import threading
import time

import psycopg

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / 'model'))
from writes import add_names, register_names    # noqa: E402

PARENT = os.getppid()
LEASE = '2 seconds'
# How often files of a kind occur among 200; what the kinds mean is in Worker.decide.
KINDS = {'good': 160, 'empty': 14, 'slow': 4, 'slowonce': 8, 'long': 6, 'returned': 6, 'deadly': 2}
BACKLOG = 8000
THREADS = 8


def run(conninfo, step):
    """Calls step(connection) for as long as it says, over one connection after the other."""
    while os.getppid() == PARENT:
        try:
            with psycopg.connect(conninfo, autocommit=True) as connection:
                while step(connection):
                    pass
                return
        except psycopg.OperationalError as error:
            # No SQLSTATE: the connection is lost, or there is none. 57P01 and so on: the server is going down.
            if error.sqlstate and not error.sqlstate.startswith('57P'):
                raise
            time.sleep(0.05)
        except psycopg.Rollback:
            # The connection was lost on the way back.
            pass


class Worker:
    CLAIM = '''
        INSERT INTO audit (kind, worker, session_id, file_ingestion_id, name, token, attempt, until)
        SELECT 'claimed', %(worker)s::text, c.session_id, c.file_ingestion_id, c.name, c.lease_token, c.attempt, c.lease_expires_at
        FROM session_files.claim_files(%(worker)s, %(max)s, %(lease)s, %(workspace)s, %(session)s) AS c
        RETURNING session_id, token, file_ingestion_id, name, attempt'''
    END = '''
        INSERT INTO audit (kind, worker, session_id, file_ingestion_id, token, status, reason, until)
        SELECT CASE WHEN NOT f.changed THEN 'lost' WHEN f.ingestion_status = 'PENDING' THEN 'delayed' ELSE 'ended' END,
            %(worker)s, %(session)s, f.file_ingestion_id, %(token)s, f.ingestion_status::text,
            CASE WHEN f.changed AND f.ingestion_status = 'PENDING' THEN %(action)s::text ELSE f.ingestion_status_reason::text END, '''
    FAIL = 'f.retry_at FROM session_files.fail_files(%(session)s, %(ids)s, %(action)s::text::session_files.ingestion_status_reason, %(token)s) AS f'
    ACTIONS = {
        'extend': '''
            INSERT INTO audit (kind, worker, session_id, file_ingestion_id, token, until)
            SELECT CASE WHEN f.lease_expires_at IS NULL THEN 'lost' ELSE 'extended' END,
                %(worker)s, %(session)s, f.file_ingestion_id, %(token)s, f.lease_expires_at
            FROM session_files.extend_lease(%(session)s, %(ids)s, %(token)s, %(lease)s) AS f''',
        'release': '''
            INSERT INTO audit (kind, worker, session_id, file_ingestion_id, token)
            SELECT CASE WHEN f.changed THEN 'released' ELSE 'lost' END, %(worker)s, %(session)s, f.file_ingestion_id, %(token)s
            FROM session_files.release_files(%(session)s, %(ids)s, %(token)s) AS f''',
        'finish': END + 'NULL FROM session_files.finish_files(%(session)s, %(ids)s, %(token)s) AS f',
        'SLOWDOWN': END + FAIL,
        'EMPTY_FILE': END + FAIL,
    }

    def __init__(self, name, rng):
        self.name, self.rng = name, rng
        self.work = []    # what is to be done at which time: (time, session, token, action, ids)
        self.busy_until = 0
        self.session = None

    def step(self, connection):
        """Does what is due, then claims more."""
        now = time.monotonic()
        due = [item for item in self.work if item[0] <= now]
        if due and self.rng.random() < 0.5:
            with connection.transaction():
                for item in due:
                    self.act(connection, item)
        else:
            for item in due:
                self.act(connection, item)
                self.work.remove(item)
        self.work = [item for item in self.work if item not in due]
        if now < self.busy_until or not self.claim(connection):
            time.sleep(0.02)
        return True

    def act(self, connection, item):
        _, session, token, action, ids = item
        rows = connection.execute(self.ACTIONS[action], {'worker': self.name, 'session': session, 'token': token, 'action': action,
                                                         'ids': ids, 'lease': LEASE}).rowcount
        assert rows == len(ids), f'{action}: {rows} rows for {len(ids)} files'

    def claim(self, connection):
        """Claims files and plans what to do with them; sometimes as if it had never been."""
        rng = self.rng
        arguments = {'worker': self.name, 'max': rng.choice([1, 2, 5, 20, 50, 100, 100, 200]), 'lease': LEASE,
                     'workspace': rng.choice([None, None, None, 'a', 'b']),
                     'session': self.session if rng.random() < 0.1 else None}
        if arguments['session']:
            arguments['workspace'] = None
        rows, undo = [], rng.random() < 0.03
        with connection.transaction():
            rows = connection.execute(self.CLAIM, arguments).fetchall()
            if undo:
                raise psycopg.Rollback()
        if not undo:
            self.plan(rows)
        return rows

    def plan(self, rows):
        """Plans the ends of what was claimed: soon, or when the lease is over; sometimes what was extended together with the rest."""
        ready = self.busy_until = time.monotonic() + self.rng.uniform(0, 0.4)
        if self.rng.random() < 0.06:
            ready += 2
        together = self.rng.random() < 0.1
        items = {}
        for session, token, file_id, name, attempt in rows:
            for delay, action in self.decide(name, attempt):
                delay = 1 if together and action == 'finish' else delay
                items.setdefault((ready + delay, session, token, action), []).append(file_id)
            self.session = session
        self.work += [(*key, ids) for key, ids in items.items()]
        self.work.sort(key=lambda item: item[0])

    def decide(self, name, attempt):
        """Tells what to do with a file, and when."""
        match name.split()[0]:
            case 'good':
                return [(0, 'finish')]
            case 'empty':
                return [(0, 'EMPTY_FILE')]
            case 'slow':
                return [(0, 'SLOWDOWN')]
            case 'slowonce':
                return [(0, 'SLOWDOWN' if attempt == 1 else 'finish')]
            case 'long':
                return [(0, 'extend'), (1, 'finish')]
            case 'returned':
                return [(0, self.rng.choice(['release', 'finish']))]
            case 'deadly':    # no worker ends it
                return []


class Registrar:
    def __init__(self, number, seed, rng):
        self.number, self.seed, self.rng = number, seed, rng

    def step(self, connection):
        sessions = connection.execute('''SELECT id, session_id, size, registered, expires FROM plan
                                         WHERE NOT filled AND registrar = %s ORDER BY id''', [self.number]).fetchall()
        if not sessions:
            return False
        plan_id, session, size, registered, expires = self.rng.choice(sessions)
        if registered == size:
            with connection.transaction():
                if expires:
                    connection.execute('''UPDATE session_files.upload_sessions SET expires_at = clock_timestamp() + interval '0.5 seconds'
                                          WHERE session_id = %s''', [session])
                else:
                    connection.execute('SELECT session_files.close_session(%s)', [session])
                connection.execute('UPDATE plan SET filled = true WHERE id = %s', [plan_id])
        elif connection.execute("SELECT count(*) FROM session_files.files WHERE ingestion_status = 'PENDING'").fetchone()[0] > BACKLOG:
            time.sleep(0.1)
        else:
            self.add(connection, plan_id, session, range(registered, min(size, registered + self.rng.choice([1, 10, 200, 1000]))))
        return True

    def add(self, connection, plan_id, session, numbers):
        """Adds files to a session, or nearly."""
        with connection.transaction():
            connection.execute('UPDATE plan SET registered = %s WHERE id = %s', [numbers.stop, plan_id])
            names = [self.name_of(plan_id, number) for number in numbers]
            if self.rng.random() < 0.3:    # and some that are there already
                names[:0] = [self.name_of(plan_id, number) for number in range(max(0, numbers.start - 20), numbers.start)]
                register_names(connection, session, names)
            else:
                add_names(connection, self.rng, session, names)
            if self.rng.random() < 0.2:
                raise psycopg.Rollback()

    def name_of(self, plan_id, number):
        """Gives a file's name, always the same: a kind and a number. One of 1000 is too long."""
        rng = random.Random(f'{self.seed} {plan_id} {number}')
        kind = rng.choices(list(KINDS), KINDS.values())[0]
        return f'{kind} {number}' + (' ' + 800 * 'x' if rng.random() < 0.001 else '')


def maintain(connection):
    connection.execute('INSERT INTO upkeep SELECT * FROM session_files.maintain(%s)', [random.randint(1, 500)])
    time.sleep(0.05)
    return True


def listen(connection):
    connection.execute('LISTEN session_files_done')
    print('listening', flush=True)
    for note in connection.notifies():
        print(note.payload, flush=True)


class Race:
    """Rounds: sessions with a file for each thread are made, then all threads end theirs, or, in every second round, one of them closes
    the sessions instead."""

    def __init__(self, conninfo, rng, rounds):
        self.conninfo, self.rng, self.rounds = conninfo, rng, rounds
        self.barrier = threading.Barrier(THREADS)
        self.failures = []

    def run(self):
        threads = [threading.Thread(target=self.guard, args=[number]) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def guard(self, number):
        try:
            with psycopg.connect(self.conninfo, autocommit=True) as connection:
                self.race(connection, number)
        except threading.BrokenBarrierError:
            pass
        except BaseException as error:
            self.failures.append(error)
            self.barrier.abort()

    def race(self, connection, number):
        for self.round in range(self.rounds):
            self.barrier.wait()
            if number == 0:
                self.prepare(connection)
            self.barrier.wait()
            with connection.transaction():
                for session, ids in self.sessions:
                    if number == 0 and self.closes:
                        connection.execute('SELECT session_files.close_session(%s)', [session])
                    else:
                        connection.execute('SELECT session_files.finish_files(%s, %s)', [session, [ids[number]]])
                self.barrier.wait()    # to commit at the same moment

    def prepare(self, connection):
        self.closes = self.round % 2 == 1
        self.sessions = []
        with connection.transaction():
            for _ in range(self.rng.choice([1, 10, 30])):
                session = connection.execute("SELECT session_files.create_session('race')").fetchone()[0]
                names = [str(number) for number in range(self.closes, THREADS)]
                self.sessions.append((session, [None] * self.closes + register_names(connection, session, names)))
                if not self.closes:
                    connection.execute('SELECT session_files.close_session(%s)', [session])


def main(conninfo, seed, role, name, number='0'):
    rng = random.Random(f'{seed} {name}')
    random.seed(f'{seed} {name}')
    match role:
        case 'work':
            run(conninfo, Worker(name, rng).step)
        case 'register':
            run(conninfo, Registrar(int(number), seed, rng).step)
        case 'maintain':
            run(conninfo, maintain)
        case 'listen':
            run(conninfo, listen)
        case 'race':
            Race(conninfo, rng, int(number)).run()


if __name__ == '__main__':
    main(*sys.argv[1:])
