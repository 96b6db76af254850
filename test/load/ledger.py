#!/usr/bin/python3
"""Clients that write and keep a ledger of it, for the tests of faults and the torture; and what must be there of it at any time:

    load CONNINFO SEED FOLDER NAME CLIENTS [SQLSTATE...]
                        clients that register, finish, fail, claim, release, retry, rename and delete files, in savepoints and prepared
                        transactions too, until SIGTERM. Each keeps a ledger in the folder: what a transaction is to change, before anything
                        of it is sent; and what became of it. The errors given are part of the test: they undo a transaction. Where 40001 is
                        one of them, transactions are of every isolation level. Whatever else is wrong ends with a traceback.
    verify CONNINFO FOLDER
                        compares a database with the ledgers: each transaction that was acknowledged is wholly there, each that was not
                        answered is wholly there or not at all, others are not there. Prints what it has looked at.
    prefix CONNINFO FOLDER EARLIER
                        the same for a database as of some moment between two copies of the ledgers: of each client there are its first
                        transactions, all that were acknowledged before the earlier copy was made, and no half one.

A client changes its own files alone, so that it knows what each transaction has to change. A file's name begins with its client's.
"""

import collections
import json
import os
import pathlib
import random
import signal
import sys
import threading
import time
import uuid

import psycopg

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / 'model'))
from writes import add_names    # noqa: E402

LEVELS = ['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE']
REASONS = ['EMPTY_FILE', 'FILE_NOT_FOUND', 'UNKNOWN_ERROR', 'FAILED_TO_PARSE_META']
# Of a client; then it deletes some.
MOST_FILES = int(os.environ.get('FAULTS_FILES', 1500))
SHARED_SESSIONS = 3

# All that a client's transactions change: files, leases and prepared transactions, as a name and a value.
FILES = '''SELECT name, coalesce(ingestion_status_reason::text, ingestion_status::text) FROM session_files.files WHERE {0}'''
LEASES = '''SELECT DISTINCT 'lease ' || worker, 'held' FROM session_files.file_queue WHERE worker IS NOT NULL AND {0}'''
PREPARED = '''SELECT 'prepared ' || gid, 'prepared' FROM pg_prepared_xacts WHERE {0}'''


def session_of(load, label):
    return uuid.uuid5(uuid.NAMESPACE_OID, f'{load} {label}')


def apply(state, changes):
    for key, value in changes.items():
        if value is None:
            state.pop(key, None)
        else:
            state[key] = value


class Stopped(Exception):
    """The test has said so, and the server cannot be asked any more."""


class Nothing(Exception):
    """There is nothing to do; the transaction is rolled back."""


class Client:
    """Does one transaction after the other, and knows what has to be there."""

    def __init__(self, conninfo, seed, folder, load, number, errors, stop):
        self.conninfo, self.load, self.errors, self.stop = conninfo, load, errors, stop
        self.name = f'{load}/{number}'
        self.rng = random.Random(f'{seed} {self.name}')
        self.ledger = open(pathlib.Path(folder) / f'{load}.{number}.ledger', 'x', encoding='utf-8')
        self.levels = LEVELS if '40001' in errors else LEVELS[:1]
        self.parent = os.getppid()
        self.labels = [f'own{number}'] + [f'shared{i}' for i in range(SHARED_SESSIONS)]
        self.number = 0
        self.connection = None
        self.state = {}       # what is committed
        self.leases = {}      # worker: (token, {name: id})
        self.prepared = {}    # gid: changes

    def run(self):
        try:
            for label in self.labels:
                self.ask('''INSERT INTO session_files.upload_sessions (session_id, workspace_name, expires_at)
                            VALUES (%s, 'load', '2999-01-01') ON CONFLICT DO NOTHING''', [session_of(self.load, label)])
            while not self.stop.is_set():
                self.step()
        except Stopped:
            pass

    def step(self):
        steps = {self.register: 40, self.settle: 30, self.claim: 12, self.end_lease: 16, self.retry: 3, self.rename: 3, self.delete: 5, self.end_prepared: 30 if self.prepared else 0}
        files = sum(1 for key in self.state if key.startswith(self.name + '/'))
        if files > MOST_FILES:
            steps[self.register], steps[self.delete] = 0, 40
        self.rng.choices(list(steps), steps.values())[0]()

    # The connection

    def connect(self):
        while self.connection is None or self.connection.closed:
            try:
                self.connection = psycopg.connect(self.conninfo, autocommit=True, application_name='ledger')
                self.connection.prepare_threshold = None
            except psycopg.OperationalError:
                if self.stop.is_set():
                    raise Stopped from None
                if os.getppid() != self.parent:
                    os._exit(1)
                time.sleep(0.05)

    def is_lost(self, error):
        """Returns whether the connection is lost. Of a server that ends it, the error may come first."""
        if (error.sqlstate or '').startswith('57P'):
            self.connection.close()
        return self.connection.closed

    def ask(self, query, arguments):
        """A statement that can be sent again."""
        while True:
            self.connect()
            try:
                cursor = self.connection.execute(query, arguments)
                return cursor.fetchall() if cursor.description else []
            except psycopg.Error as error:
                if not self.is_lost(error) and error.sqlstate not in self.errors:
                    raise
                time.sleep(0.05)

    def write(self, **entry):
        self.ledger.write(json.dumps(entry) + '\n')
        self.ledger.flush()

    # Transactions

    def transact(self, how, changes, action, command='COMMIT'):
        """Has an action change what is told; returns whether it is there now. Without a command the action is one statement."""
        self.connect()
        self.number += 1
        rolled_back = command == 'ROLLBACK'
        self.write(number=self.number, how=how, changes={} if rolled_back else changes)
        sent = command is None
        try:
            if command:
                self.connection.execute(f'BEGIN ISOLATION LEVEL {self.rng.choice(self.levels)}')
                if self.rng.random() < 0.15:
                    self.connection.execute('SAVEPOINT once')
                    action()
                    self.connection.execute('ROLLBACK TO once')
            action()
            sent = True
            if command:
                if self.rng.random() < 0.2:
                    time.sleep(self.rng.uniform(0, 0.02))
                told = self.connection.execute(command).statusmessage
                assert told == command.split(" '")[0], told
            end = 'rolled back' if rolled_back else 'there'
        except Nothing:
            end = 'rolled back'
            self.undo()
        except psycopg.Error as error:
            if not self.is_lost(error):
                if error.sqlstate not in self.errors:
                    raise
                self.undo()
                end = f'error {error.sqlstate}'
            else:
                end = self.recover(changes, sent and not rolled_back)
        if end in ('there', 'found'):
            apply(self.state, changes)
        self.write(number=self.number, end=end)
        return end in ('there', 'found')

    def undo(self):
        """Ends a transaction that is open; with a connection that is lost it has ended."""
        try:
            if self.connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                self.connection.execute('ROLLBACK')
        except psycopg.OperationalError:
            self.connection.close()

    def recover(self, changes, may_be_there):
        """Looks what became of a transaction whose end was not heard of."""
        found = self.look(changes)
        before = {key: self.state[key] for key in changes if key in self.state}
        if found == before:
            return 'absent'
        assert may_be_there, f'{self.name} {self.number}: not committed, but there'
        after = {key: value for key, value in changes.items() if value is not None}
        assert found == after, f'{self.name} {self.number}: half there: {differences(after, found)}'
        return 'found'

    def look(self, keys):
        found = {}
        keys = list(keys)
        sessions = [session_of(self.load, label) for label in self.labels]
        for query, arguments in (
                (FILES.format('session_id = ANY (%s) AND name = ANY (%s)'), [sessions, keys]),
                (LEASES.format("'lease ' || worker = ANY (%s)"), [keys]),
                (PREPARED.format("'prepared ' || gid = ANY (%s)"), [keys])):
            found.update(self.ask(query, arguments))
        return found

    # What transactions do

    def free(self, test):
        """Batches of files that no lease and no prepared transaction has, whose status passes a test: {batch: names}"""
        busy = {name for _, names in self.leases.values() for name in names}
        for changes in self.prepared.values():
            busy.update(changes)
        batches = collections.defaultdict(list)
        for key, value in self.state.items():
            if key.startswith(self.name + '/') and key not in busy and test(value):
                batches[key.rpartition('/')[0]].append(key)
        return batches

    def some_batches(self, test, most):
        batches = self.free(test)
        return {batch: batches[batch] for batch in self.rng.sample(list(batches), min(len(batches), most))}

    def session(self, name):
        return session_of(self.load, name.split('/')[2])

    def execute(self, query, *arguments):
        return self.connection.execute(query, arguments)

    def ids(self, names):
        return [row[0] for row in self.execute(
            'SELECT file_ingestion_id FROM session_files.files WHERE session_id = %s AND name = ANY (%s)', self.session(names[0]), names)]

    def commit(self, how, changes, action):
        """Most transactions are committed, some rolled back, some prepared for later."""
        number = self.rng.random()
        if number < 0.08:
            self.transact(how, changes, action, 'ROLLBACK')
        elif number < 0.15 and len(self.prepared) < 2 and not any(key.startswith('lease ') for key in changes):
            gid = f'{self.name}/{self.number + 1}'
            if self.transact(how, {f'prepared {gid}': 'prepared'}, action, f"PREPARE TRANSACTION '{gid}'"):
                self.prepared[gid] = changes
        else:
            self.transact(how, changes, action)

    def register(self):
        # None in its own session is prepared: it would have to know what it can claim.
        label = self.rng.choice(self.labels + self.labels[:1])
        batch = f'{self.name}/{label}/{self.number + 1}'
        names = [f'{batch}/{i}' for i in range(self.rng.choice([1, 3, 10, 50, 200, 400]))]
        half = self.rng.choice([0, len(names) // 2])

        def action():
            for part in (names[half:], names[:half]):
                if part:
                    add_names(self.connection, self.rng, session_of(self.load, label), part)
        changes = dict.fromkeys(names, 'PENDING')
        if half == 0 and self.rng.random() < 0.3:
            self.transact('register', changes, action, None)
        elif label == self.labels[0]:
            self.transact('register', changes, action)
        else:
            self.commit('register', changes, action)

    def settle(self):
        """Finishes and fails files, whatever worker holds them, of some batches at a time."""
        parts, changes = [], {}
        for names in self.some_batches(lambda value: value == 'PENDING', 3).values():
            if self.rng.random() < 0.3:
                names = names[:(len(names) + 1) // 2]
            status = self.rng.choice(['FINISHED', 'FINISHED', self.rng.choice(REASONS)])
            parts.append((names, status, self.rng.random() < 0.3))
            changes.update(dict.fromkeys(names, status))
        own = any(names[0].split('/')[2] == self.labels[0] for names, _, _ in parts)

        def action():
            for names, status, plain in parts:
                self.settle_files(names, status, plain)
        if own:
            self.transact('settle', changes, action)
        elif parts:
            self.commit('settle', changes, action)

    def settle_files(self, names, status, plain, token=None):
        session, ids = self.session(names[0]), self.ids(names)
        if plain:
            changed = self.execute('''UPDATE session_files.files SET ingestion_status = %s, ingestion_status_reason = %s
                                      WHERE session_id = %s AND file_ingestion_id = ANY (%s) AND ingestion_status = 'PENDING' ''',
                                   'FINISHED' if status == 'FINISHED' else 'FAILED', None if status == 'FINISHED' else status, session, ids).rowcount
        elif status == 'FINISHED':
            rows = self.execute('SELECT changed FROM session_files.finish_files(%s, %s, %s)', session, ids, token).fetchall()
            changed = sum(row[0] for row in rows)
        else:
            rows = self.execute('SELECT changed FROM session_files.fail_files(%s, %s, %s, %s)', session, ids, status, token).fetchall()
            changed = sum(row[0] for row in rows)
        assert changed == len(names), f'{self.name} {self.number}: {changed} of {len(names)} changed'

    def claim(self):
        """Claims files of its own session. It need not get all that there are: what came back a moment ago may be passed over."""
        names = [name for batch, part in self.free(lambda value: value == 'PENDING').items() if batch.split('/')[2] == self.labels[0] for name in part]
        if not names:
            return
        most = self.rng.choice([1, 5, 30, 100, 250])
        worker, session, got = f'{self.name}/{self.number + 1}', session_of(self.load, self.labels[0]), []

        def action():
            got[:] = self.execute("SELECT name FROM session_files.claim_files(%s, %s, '10 hours', NULL, %s)", worker, most, session).fetchall()
            if not got:
                raise Nothing
            assert len(got) <= most and {row[0] for row in got} <= set(names), f'{worker}: {len(got)} of {most} files'
        how = self.rng.choice(['COMMIT', 'COMMIT', 'COMMIT', None, 'ROLLBACK'])
        if self.transact('claim', {f'lease {worker}': 'held'}, action, how):
            rows = self.ask('''SELECT q.lease_token, f.name, f.file_ingestion_id FROM session_files.file_queue AS q, session_files.files AS f
                               WHERE q.worker = %s AND f.session_id = q.session_id AND f.file_ingestion_id = ANY (q.file_ingestion_ids)''', [worker])
            held = {row[1]: row[2] for row in rows}
            assert held and (not got or set(held) == {row[0] for row in got}), f'{worker} holds {len(held)}, and was told of {len(got)}'
            self.leases[worker] = (rows[0][0], held)

    def end_lease(self):
        if not self.leases:
            return
        worker = self.rng.choice(list(self.leases))
        token, held = self.leases[worker]
        names, status = list(held), self.rng.choice(['FINISHED', 'EMPTY_FILE', 'release', 'FINISHED'])
        if status != 'release' and self.rng.random() < 0.3:
            names = names[:(len(names) + 1) // 2]
        rest = {name: file_id for name, file_id in held.items() if name not in names}
        changes = {} if status == 'release' else dict.fromkeys(names, status)
        if not rest:
            changes[f'lease {worker}'] = None

        def action():
            if status == 'release':
                rows = self.execute('SELECT changed FROM session_files.release_files(%s, %s, %s)', self.session(names[0]),
                                    [held[name] for name in names], token).fetchall()
                assert sum(row[0] for row in rows) == len(names)
            else:
                self.settle_files(names, status, False, token)
        if self.transact('end lease', changes, action):
            self.leases[worker] = (token, rest)
            if not rest:
                del self.leases[worker]

    def retry(self):
        """Makes what has failed of its own session PENDING again."""
        names = [name for batch, part in self.free(lambda value: value in REASONS).items() if batch.split('/')[2] == self.labels[0] for name in part]
        if names:
            def action():
                changed = self.execute('SELECT session_files.retry_failed(%s)', session_of(self.load, self.labels[0])).fetchone()[0]
                assert changed == len(names), f'{changed} of {len(names)} are retried'
            self.transact('retry', dict.fromkeys(names, 'PENDING'), action, self.rng.choice(['COMMIT', None]))

    def rename(self):
        for batch, names in self.some_batches(lambda value: True, 1).items():
            new = {name: f'{batch}/{self.number + 1}.{i}' for i, name in enumerate(names[:3])}

            def action(new=new):
                for name in new:
                    renamed = self.execute('UPDATE session_files.files SET name = %s WHERE session_id = %s AND name = %s',
                                           new[name], self.session(name), name).rowcount
                    assert renamed == 1
            self.transact('rename', {**dict.fromkeys(new), **{new[name]: self.state[name] for name in new}}, action)

    def delete(self):
        for names in self.some_batches(lambda value: True, 1).values():
            def action(names=names):
                deleted = self.execute('DELETE FROM session_files.files WHERE session_id = %s AND name = ANY (%s)', self.session(names[0]), names).rowcount
                assert deleted == len(names)
            own = names[0].split('/')[2] == self.labels[0]
            (self.transact if own else self.commit)('delete', dict.fromkeys(names), action)

    def end_prepared(self):
        if self.prepared:
            gid = self.rng.choice(list(self.prepared))
            command = self.rng.choice(['COMMIT', 'COMMIT', 'ROLLBACK'])
            changes = {f'prepared {gid}': None, **(self.prepared[gid] if command == 'COMMIT' else {})}
            if self.transact(f'{command} PREPARED', changes, lambda: self.execute(f"{command} PREPARED '{gid}'"), None):
                del self.prepared[gid]


def run_clients(conninfo, seed, folder, name, clients, errors, stop):
    """Runs clients until the event `stop`; raises what was wrong."""
    failures = []

    def guard(number):
        try:
            Client(conninfo, seed, folder, name, number, errors, stop).run()
        except BaseException as error:
            failures.append(error)
            stop.set()
    threads = [threading.Thread(target=guard, args=[number]) for number in range(clients)]
    for thread in threads:
        thread.start()
    stop.wait()
    for thread in threads:
        thread.join()
    for failure in failures:
        raise failure


def load(conninfo, seed, folder, name, clients, *errors):
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    run_clients(conninfo, seed, folder, name, int(clients), errors, stop)


# Ledgers

class Entry:
    """A transaction in a ledger."""

    def __init__(self, how, changes):
        self.how, self.changes, self.end = how, changes, None


def read_ledger(path):
    """The transactions of a client, in their order. A copy may end in the middle of a line."""
    entries = []
    with open(path, encoding='utf-8') as file:
        for line in file:
            if not line.endswith('\n'):
                break
            entry = json.loads(line)
            if 'end' in entry:
                entries[-1].end = entry['end']
            else:
                entries.append(Entry(entry['how'], entry['changes']))
            assert entry['number'] == len(entries)
    assert all(entry.end for entry in entries[:-1])
    return entries


def read_ledgers(folder):
    return {path.stem.replace('.', '/'): read_ledger(path) for path in sorted(pathlib.Path(folder).glob('*.ledger'))}


def states_of(conninfo, clients):
    """What there is of each client in a database."""
    states = {client: {} for client in clients}
    with psycopg.connect(conninfo) as connection:
        for query, name in ((FILES, 'name'), (LEASES, 'worker'), (PREPARED, 'gid')):
            query = query.format(f"{name} ~ '^[^/]*/[0-9]+/'")
            for key, value in connection.execute(query):
                client = '/'.join(key.split(' ')[-1].split('/')[:2])
                assert client in states, f'{key} is of no client'
                states[client][key] = value
    return states


def differences(expected, found):
    wrong = [(key, expected.get(key), found.get(key)) for key in sorted({*expected, *found}) if expected.get(key) != found.get(key)]
    return f'{len(wrong)} of {len({*expected, *found})} differ (expected, found): {wrong[:5]}'


def verify(conninfo, folder):
    """Gives what became of how many transactions, and of how many clients."""
    ledgers, ends = read_ledgers(folder), collections.Counter()
    for client, found in states_of(conninfo, ledgers).items():
        state = {}
        for entry in ledgers[client]:
            ends[(entry.end or 'in doubt').split(' ')[0]] += 1
            if entry.end in ('there', 'found'):
                apply(state, entry.changes)
        if found != state and ledgers[client] and ledgers[client][-1].end is None:
            without, entry = dict(state), ledgers[client][-1]
            apply(state, entry.changes)
            assert found == state, (f'{client}: in doubt is "{entry.how}" of {len(entry.changes)}. Without it {differences(without, found)}; '
                                    f'with it {differences(state, found)}')
        assert found == state, f'{client}: {differences(state, found)}'
    return ends, len(ledgers)


def print_verified(conninfo, folder):
    ends, clients = verify(conninfo, folder)
    print(f'{sum(ends.values())} transactions of {clients} clients: ' + ', '.join(f'{count} {end}' for end, count in sorted(ends.items())))


def prefix(conninfo, folder, earlier):
    ledgers, counts = read_ledgers(folder), []
    acknowledged = {client: sum(entry.end is not None for entry in entries) for client, entries in read_ledgers(earlier).items()}
    for client, found in states_of(conninfo, ledgers).items():
        state, nearest = {}, None
        wrong = set(found)    # the keys that differ
        least = acknowledged.get(client, 0)
        places = []
        for place in range(len(ledgers[client]) + 1):
            if place > 0 and ledgers[client][place - 1].end in ('there', 'found', None):
                entry = ledgers[client][place - 1]
                apply(state, entry.changes)
                for key in entry.changes:
                    (wrong.discard if state.get(key) == found.get(key) else wrong.add)(key)
            if place >= least and not wrong:
                places.append(place)
            if place >= least and (nearest is None or len(wrong) < nearest[1]):
                nearest = (place, len(wrong), sorted(wrong)[:5])
        assert places, f'{client}: not the state after any of its transactions from {least} on; nearest is {nearest}'
        counts.append(f'{places[0]} of {len(ledgers[client])}')
    print(f'first transactions of {len(ledgers)} clients: {", ".join(counts)}')


if __name__ == '__main__':
    {'load': load, 'verify': print_verified, 'prefix': prefix}[sys.argv[1]](*sys.argv[2:])
