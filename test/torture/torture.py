#!/usr/bin/python3
"""Writers of every kind, and listers who compare each page with the rows of the same snapshot, all at the same time.

Starts a cluster of its own with the programs of PostgreSQL that are in PATH, which have the extension, and ends with TAP.

TORTURE_MINUTES    how long; 1 if it is not set
TORTURE_SEED       replays the choices of a run, though not its timing; it is printed
"""

import collections
import multiprocessing
import os
import pathlib
import queue
import random
import re
import subprocess
import sys
import tempfile
import time

import psycopg

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / folder) for folder in ('model', 'load')]
from client import BUSY, Shared    # noqa: E402
from listers import BROKEN, INVARIANTS, Auditor, Lister    # noqa: E402
from writers import ACTIONS, SHARED, Housekeeper, Keeper, Killer, Resolver, Writer    # noqa: E402

SETTINGS = {
    'listen_addresses': "''", 'fsync': 'off', 'max_prepared_transactions': 100, 'deadlock_timeout': '50ms', 'autovacuum_naptime': '1s',
    'autovacuum_vacuum_cost_delay': 0, 'autovacuum_vacuum_scale_factor': 0.02, 'autovacuum_freeze_max_age': 100000, 'log_line_prefix': "'%m [%p] %e '",
    'max_pred_locks_per_transaction': 256, 'session_files.max_attempts': 3, 'session_files.retry_delay': '10ms',
    'session_files.retry_delay_limit': '50ms', 'session_files.session_retention': "'2s'"}
WRITERS, LISTERS = 6, 3
# How often each kind of action has to succeed; and what is rare and takes long.
LEAST, LEAST_RARE = 3, 1
# So many minutes longer the run goes on, at most, until that is so.
PATIENCE = 10
# What the server may log, by SQLSTATE: what the clients are told, and kills; a ROLLBACK after a COMMIT that failed or was cancelled (25P01).
LOGGED = {'00000', '55006', '40001', '40P01', '57014', '55P03', '57P01', '23503', '23505', '23514', 'P0002', '55000', '22023', '08006', '08P01', '01000', '25P01'}
# A REINDEX CONCURRENTLY that was given up leaves an index, until it is dropped.
IGNORED = 'cannot reindex invalid index'


class Cluster:
    """A throw-away cluster."""

    def __init__(self, folder):
        self.data, self.log, self.folder = f'{folder}/data', f'{folder}/log', folder
        self.conninfo = f'host={folder} dbname=postgres user=postgres'

    def __enter__(self):
        self.call('initdb', '--username=postgres', '--encoding=UTF8', '--locale=C.UTF-8', '--no-sync', '--auth=trust')
        with open(f'{self.data}/postgresql.conf', 'a') as file:
            file.writelines(f'{name} = {value}\n' for name, value in SETTINGS.items())
            file.write(f"unix_socket_directories = '{self.folder}'\n")
        self.call('pg_ctl', 'start', '--wait', f'--log={self.log}')
        return self

    def __exit__(self, *_):
        self.call('pg_ctl', 'stop', '--mode=immediate')

    def call(self, program, *arguments):
        subprocess.run([program, f'--pgdata={self.data}', *arguments], check=True, stdout=subprocess.DEVNULL)

    def unexpected_lines(self):
        """Gives what is in the log and should not be."""
        with open(self.log) as file:
            return [line for line in file
                    if (match := re.match(r'\S+ \S+ \S+ \[\d+\] (\w{5}) (\w+):', line)) and match[2] in ('WARNING', 'ERROR', 'FATAL', 'PANIC')
                    and match[1] not in LOGGED and IGNORED not in line or 'terminated by signal' in line or 'PANIC' in line]


def prepare(db):
    db.execute('CREATE EXTENSION session_files')
    for workspace in [*SHARED, 'hidden', 'load']:
        db.execute('SELECT session_files.create_workspace(%s)', [workspace])
    db.execute("INSERT INTO session_files.files (session_id, name) SELECT session_files.create_session('hidden'), 'hidden'")
    db.execute('INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES (%s, %s)', [BUSY, SHARED[0]])
    # It compares what it lists with what it reads by plain SQL.
    db.execute('CREATE ROLE lister; GRANT SELECT ON session_files.upload_sessions, session_files.files TO lister')
    for workspace in SHARED[:2]:
        db.execute("SELECT session_files.grant_workspace('lister', %s)", [workspace])


class Run:
    """The processes, and what they have told."""

    def __init__(self, conninfo, seed, folder):
        context = multiprocessing.get_context('fork')
        self.shared = Shared(context, conninfo, seed, folder)
        clients = [Writer(self.shared, f'writer {n}') for n in range(WRITERS)]
        clients += [Lister(self.shared, f'lister {n}', 'lister' if n == 0 else None) for n in range(LISTERS)]
        clients += [make(self.shared, make.__name__.lower()) for make in (Auditor, Keeper, Killer, Resolver, Housekeeper)]
        self.processes = {client.name: (context.Process(target=client.run, daemon=True), client.stage) for client in clients}
        self.told, self.failures = {}, []

    def hear(self, seconds):
        """Takes in what the processes tell; gives up on those that ended without a word."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                name, counts, failure = self.shared.results.get(timeout=min(left, 1))
            except queue.Empty:
                continue
            self.told[name] = counts
            if failure:
                self.failures.append(f'{name}: {failure}')

    def counts(self):
        return sum(map(collections.Counter, self.told.values()), collections.Counter())

    def lacking(self):
        """Gives what was not done often enough."""
        counts = self.counts()
        return ([name for name in ACTIONS if counts[name, 'ok'] < LEAST]
                + [work for work in Housekeeper.WORK if counts[work, 'ok'] < LEAST_RARE]
                + [kind for kind in KINDS if counts[kind] < (LEAST if kind[0] not in ('merge of slots', 'TRUNCATE', 'ledgers compared') else LEAST_RARE)])

    def go(self, minutes):
        for process, _ in self.processes.values():
            process.start()
        start = time.monotonic()
        while not self.failures:
            self.hear(1)
            passed = (time.monotonic() - start) / 60
            if passed >= minutes and (not self.lacking() or passed >= minutes + PATIENCE):
                break
            self.failures += [f'{name} died' for name, (process, _) in self.processes.items() if process.exitcode]
        # The resolver of prepared transactions goes on until no process waits for one.
        for stage in ('writers', 'others'):
            self.shared.stops[stage].set()
            while any(process.is_alive() for process, of in self.processes.values() if of == stage):
                self.hear(0.2)
        self.hear(0.5)
        return (time.monotonic() - start) / 60


KINDS = [('page', 'ok'), ('page of a walk', 'ok'), ('walk', 'ok'), ('version', 'ok'), ('page of a hidden session', 'ok'), ('page in one statement', 'ok'),
         ('audit', 'ok'), ('check()', 'ok'), ('copy of a session', 'ok'), ('merge of slots', 'ok'), ('cancel', 'ok'), ('kill', 'ok'), ('COMMIT PREPARED', 'ok'), ('ROLLBACK PREPARED', 'ok'),
         ('ledger', 'there'), ('ledger', 'rolled'), ('ledger', 'error'), ('ledgers compared', 'ok'), ('TRUNCATE', 'ok'), ('savepoint', 'rolled back'),
         ('savepoint', 'after an error'), ('savepoint', 'released'), *((f'transaction {level}', 'ok') for level in (
             'READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'))]


def show(counts):
    """Prints a table: what, and how often it came to what."""
    table = collections.defaultdict(list)
    for (kind, outcome), number in sorted(counts.items(), key=lambda item: (item[0][0], item[0][1] != 'tried', item[0][1] != 'ok', item[0][1])):
        table[kind].append(f'{outcome} {number}')
    for kind, outcomes in sorted(table.items()):
        print(f'# {kind:<45} {", ".join(outcomes)}')


def find_broken(db):
    """Gives the invariants that do not hold, by queries of our own and by the extension's."""
    return [str(row) for row in db.execute(BROKEN)] + [f'{name}: {wrong}' for name, query in INVARIANTS.items() if (wrong := db.execute(f'SELECT * FROM ({query}) AS wrong LIMIT 3').fetchall())]


def finish_all(db):
    """Settles all that was prepared, then has a worker finish every file that can be claimed; returns how many files no worker got."""
    for gid, in db.execute('SELECT gid FROM pg_prepared_xacts').fetchall():
        db.execute(f"COMMIT PREPARED '{gid}'")
    broken = find_broken(db)
    db.execute("UPDATE session_files.upload_sessions SET status = 'OPEN', expires_at = now() + interval '1 day'")
    end = time.monotonic() + 30
    while time.monotonic() < end and (left := db.execute("SELECT count(*) FROM session_files.files WHERE ingestion_status = 'PENDING'").fetchone()[0]):
        # Leases of the run last up to an hour.
        db.execute("UPDATE session_files.file_queue SET due_at = least(due_at, now())")
        db.execute('''SELECT count(*) FROM (SELECT session_id, lease_token, array_agg(file_ingestion_id) AS ids
                FROM session_files.claim_files('last', 100000) GROUP BY 1, 2) AS c,
            LATERAL session_files.finish_files(c.session_id, c.ids, c.lease_token)''')
    return broken, left


class Tap:
    number = failed = 0

    def ok(self, passed, name, wrong=()):
        self.number += 1
        self.failed += not passed
        print(f'{"ok" if passed else "not ok"} {self.number} - {name}')
        for line in ([] if passed else '\n'.join(wrong).splitlines()):
            print(f'# {line}')


def main():
    minutes, seed = float(os.environ.get('TORTURE_MINUTES') or 1), os.environ.get('TORTURE_SEED') or str(random.SystemRandom().randrange(10**9))
    print(f'# TORTURE_SEED={seed} TORTURE_MINUTES={minutes:g}', flush=True)
    tap = Tap()
    with tempfile.TemporaryDirectory() as folder, Cluster(folder) as cluster, psycopg.connect(cluster.conninfo, autocommit=True) as db:
        prepare(db)
        run = Run(cluster.conninfo, seed, folder)
        passed = run.go(minutes)
        show(run.counts())
        print(f'# {passed:.1f} minutes')
        tap.ok(not run.failures, 'pages, versions, totals, queue and ledgers are right, and no error came that should not', run.failures)
        tap.ok(not run.lacking(), 'each kind of action succeeded', [f'too few: {run.lacking()}'])
        broken, left = finish_all(db)
        tap.ok(not broken, 'when all is quiet, all is exact', broken)
        tap.ok(left == 0, 'and each PENDING file can be claimed and finished', [f'{left} are left'])
        broken = find_broken(db)
        tap.ok(not broken, 'then too', broken)
        lines = cluster.unexpected_lines()
        tap.ok(not lines, 'the server logged nothing unexpected', lines[:20])
    print(f'1..{tap.number}')
    return tap.failed > 0


if __name__ == '__main__':
    sys.exit(main())
