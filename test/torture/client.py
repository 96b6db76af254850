"""What the processes of the torture share: a connection that may be killed, counts of what was tried, a way to say what went wrong."""

import collections
import os
import random
import time
import traceback

import psycopg

# What a writer may be told at any time, and then does again or gives up: serialization failures, deadlocks, a lock or a
# statement that took too long, or a cancel. 57P01: the backend was killed, which is only right if it was by us.
RETRIED = {'40001', '40P01'}
GIVEN_UP = {'57014', '55P03'}
KILLED = '57P01'
# A session that stays, and of which writers are fond, so that its counts come to many slots.
BUSY = '00000000-0000-7000-8000-000000000001'
# How often a process tells what it has counted, in seconds.
REPORT_EVERY = 2


class Failure(Exception):
    """Something that must not be."""


class Lost(Exception):
    """The connection was killed; whether the transaction was committed is not known."""


class Shared:
    """What the processes know of each other."""

    def __init__(self, context, conninfo, seed, folder):
        self.conninfo, self.seed, self.kills = conninfo, seed, os.path.join(folder, 'kills')
        self.stops = {stage: context.Event() for stage in ('writers', 'others')}
        self.results = context.Queue()
        # How often all files were truncated; what was written before is gone then.
        self.truncations = context.Value('i', 0)
        self.parent = os.getpid()
        open(self.kills, 'w').close()

    def kill(self, pid):
        """Notes that a backend is about to be killed."""
        with open(self.kills, 'a') as file:
            file.write(f'{pid}\n')

    def was_killed(self, pid):
        with open(self.kills) as file:
            return f'{pid}\n' in file.readlines()


class Client:
    """A process of the torture. A subclass has a step, which is done over and over."""

    stage = 'others'

    def __init__(self, shared, name):
        self.shared, self.name = shared, name
        self.rng = random.Random(f'{shared.seed} {name}')
        self.counts = collections.Counter()
        self.db = None

    def run(self):
        """The process: steps until it is told to stop, or something is wrong."""
        failure, reported = None, time.monotonic()
        try:
            self.connect()
            while not self.shared.stops[self.stage].is_set() and os.getppid() == self.shared.parent:
                self.step()
                if time.monotonic() > reported + REPORT_EVERY:
                    reported = time.monotonic()
                    self.shared.results.put((self.name, dict(self.counts), None))
            self.end()
        except BaseException:
            failure = traceback.format_exc()
        self.shared.results.put((self.name, dict(self.counts), failure))

    def end(self):
        """What is done last."""

    def connect(self):
        self.db = psycopg.connect(self.shared.conninfo, autocommit=True, application_name=f'torture {self.name}')
        self.pid = self.db.info.backend_pid

    def value(self, statement, parameters=()):
        return self.db.execute(statement, parameters).fetchone()[0]

    def count(self, kind, outcome, number=1):
        self.counts[kind, outcome] += number

    def check_lost(self, error):
        """Raises Lost, with a new connection, if the error came of a kill; Failure if the connection was lost without one."""
        if error.sqlstate != KILLED and not self.db.closed:
            return
        if not self.shared.was_killed(self.pid):
            raise Failure(f'lost its connection, though no process killed it: {error}') from error
        self.db.close()
        self.await_end(self.pid)
        self.connect()
        raise Lost from error

    def await_end(self, pid):
        """Waits until a backend is gone, and with it its locks; over a connection that no process kills."""
        with psycopg.connect(self.shared.conninfo, autocommit=True) as other:
            while other.execute('SELECT count(*) FROM pg_stat_activity WHERE pid = %s', [pid]).fetchone()[0]:
                time.sleep(0.01)
