#!/usr/bin/python3
"""Judges the files of upload sessions, as long as it is let: examples/worker.py FOLDER [--session ID] [--until-done] ...

It claims files for a time (a lease), judges many at once in threads, and tells how they ended, in batches. Any number of workers share the
work, those on other machines too. On SIGTERM or SIGINT it claims no more, ends what is at work, gives back the rest and exits with 0; a
second signal ends it at once, and its leases run out. When the connection is lost, it connects again and goes on.

The database is that of the environment (PGHOST, PGDATABASE, PGUSER, ...); the role needs a grant of the workspace as worker.
"""

import argparse
import collections
import concurrent.futures
import datetime
import itertools
import os
import queue
import select
import signal
import socket
import sys
import time
import traceback
import uuid

import psycopg

from bar import Bar
from folder import judge

TELL_EVERY = 0.5      # seconds; sooner when a claim is through
REPORT_EVERY = 1
LONGEST_DELAY = 10    # between attempts to connect
LAST_ATTEMPTS = 5     # of one that is to stop

OUTCOMES = ['finished', 'failed', 'delayed', 'released', 'lost']
# What is told of a file, beside the reasons for which it fails.
FINISHED = 'finished'
RELEASED = 'released'
STATEMENTS = collections.defaultdict(
    lambda: '''SELECT changed, CASE WHEN retry_at IS NULL THEN 'failed' ELSE 'delayed' END
        FROM session_files.fail_files(%(session)s, %(ids)s, %(verdict)s, %(token)s)''',
    {FINISHED: "SELECT changed, 'finished' FROM session_files.finish_files(%(session)s, %(ids)s, %(token)s)",
     RELEASED: "SELECT changed, 'released' FROM session_files.release_files(%(session)s, %(ids)s, %(token)s)"})


class Lease:
    """Files of one session that one claim gave: those that are with the threads, and verdicts that are not told yet."""

    def __init__(self, session, token):
        self.session = session
        self.token = token
        self.renew_at = 0
        self.at_work = {}
        self.verdicts = collections.defaultdict(list)

    def ids(self):
        return [*self.at_work, *itertools.chain.from_iterable(self.verdicts.values())]

    def cancel(self, file_id):
        """Takes a file back from the threads, unless one has begun with it; returns whether it did."""
        future = self.at_work.get(file_id)
        return future is not None and future.cancel() and bool(self.at_work.pop(file_id))


class Worker:
    """All is done by the main thread but judging; it waits for notifications, outcomes, signals and the time, whichever comes first."""

    def __init__(self, args):
        self.args = args
        self.bar = Bar()
        self.db = None
        self.failures = 0    # of the connection, in a row
        self.leases = []
        self.counts = collections.Counter()
        self.stopping = False
        self.told_expiry = False
        self.seen = collections.deque()
        self.connect_at = self.claim_at = self.tell_at = self.report_at = 0
        self.pool = concurrent.futures.ThreadPoolExecutor(args.threads)
        self.outcomes = queue.SimpleQueue()
        self.wake_reader, self.wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self):
        signal.set_wakeup_fd(self.wake_writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.on_signal)
        try:
            self.connect()
            while not self.is_over():
                try:
                    self.step()
                    if not self.is_over():
                        self.wait()
                except psycopg.OperationalError as error:
                    self.lose_connection(error)
                self.collect()
        finally:
            self.pool.shutdown(cancel_futures=True)
            self.bar.end()

    def is_over(self):
        return self.stopping and not self.leases

    def on_signal(self, number, frame):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.stop()

    def stop(self):
        self.stopping = True
        self.connect_at = 0

    def connect(self):
        # Without keepalives, one whose server vanished would wait for hours.
        self.db = psycopg.connect(
            autocommit=True, application_name=self.args.name, connect_timeout=10, keepalives_idle=30, tcp_user_timeout=30000)
        self.db.add_notify_handler(lambda notification: self.hear(notification.channel, notification.payload))
        self.db.execute('LISTEN session_files_work')
        self.db.execute('LISTEN session_files_done')
        # What was notified meanwhile was for others.
        self.claim_at = self.report_at = 0

    def lose_connection(self, error):
        """Sees to another attempt. A statement that failed in a connection that is good, by a deadlock for example, comes here too."""
        if self.db:
            self.db.close()
            self.db = None
        self.failures += 1
        if self.stopping and self.failures > LAST_ATTEMPTS:
            raise error
        delay = min(0.1 * 2 ** min(self.failures, 10), LONGEST_DELAY)
        self.connect_at = time.monotonic() + delay
        self.bar.say(f'{" ".join(str(error).split())}; connecting again in {delay:.1f} s')

    def hear(self, channel, session):
        ours = self.args.session is None or session == str(self.args.session)
        if ours and channel == 'session_files_work':
            self.claim_at = 0
        elif ours and channel == 'session_files_done':
            self.report_at = 0

    def wait(self):
        """Waits until there is something to do."""
        waits_for = [self.wake_reader]
        if self.db is None:
            until = self.connect_at
        else:
            # Some may have come with an answer.
            self.take_notifications()
            waits_for.append(self.db)
            until = min([self.report_at, *(lease.renew_at for lease in self.leases)])
            if self.has_room():
                until = min(until, self.claim_at)
            if any(lease.verdicts for lease in self.leases):
                until = min(until, self.tell_at)
        ready, _, _ = select.select(waits_for, [], [], max(0, until - time.monotonic()))
        if self.wake_reader in ready:
            os.read(self.wake_reader, 65536)
        if self.db in ready:
            self.db.pgconn.consume_input()
            self.take_notifications()

    def take_notifications(self):
        while notification := self.db.pgconn.notifies():
            self.hear(notification.relname.decode(), notification.extra.decode())

    def step(self):
        """Does what is due."""
        if self.db is None:
            if time.monotonic() < self.connect_at:
                return
            self.connect()
        if self.stopping:
            self.take_back()
        self.tell_all()
        for lease in self.leases:
            if time.monotonic() >= lease.renew_at:
                self.renew(lease)
        if self.has_room() and time.monotonic() >= self.claim_at:
            self.claim()
        if time.monotonic() >= self.report_at:
            self.report()
        self.failures = 0

    def has_room(self):
        held = sum(len(lease.ids()) for lease in self.leases)
        return not self.stopping and held + self.args.batch <= self.args.in_flight

    def claim(self):
        leases = {}
        renew_at = time.monotonic() + self.args.lease / 2
        # No notification says that leases have run out, or that the time of files to be tried again has come. Set before asking: a notification
        # may come with the answer.
        self.claim_at = time.monotonic() + self.args.poll
        rows = self.db.execute(
            'SELECT session_id, lease_token, file_ingestion_id, name FROM session_files.claim_files(%s, %s, %s, %s, %s)',
            [self.args.name, self.args.batch, self.duration(), self.args.workspace, self.args.session]).fetchall()
        for session, token, file_id, name in rows:
            lease = leases.setdefault(session, Lease(session, token))
            lease.renew_at = renew_at
            lease.at_work[file_id] = self.pool.submit(self.work, lease, file_id, name)
        self.leases += leases.values()
        if rows:
            self.claim_at = 0
            self.report_at = min(self.report_at, time.monotonic() + REPORT_EVERY)

    def duration(self):
        return datetime.timedelta(seconds=self.args.lease)

    def work(self, lease, file_id, name):
        """Judges a file; this runs in a thread."""
        try:
            time.sleep(self.args.delay)
            reason = judge(name, self.args.folder)
        except Exception:
            # Otherwise the file would be lost.
            traceback.print_exc()
            reason = 'INGESTING_FILE_FAILED'
        self.outcomes.put((lease, file_id, reason))
        try:
            os.write(self.wake_writer, b'.')
        except BlockingIOError:
            # The pipe is full: the main thread will wake up.
            pass

    def collect(self):
        """Sorts what the threads have judged."""
        while not self.outcomes.empty():
            lease, file_id, reason = self.outcomes.get()
            del lease.at_work[file_id]
            lease.verdicts[reason or FINISHED].append(file_id)

    def take_back(self):
        for lease in self.leases:
            lease.verdicts[RELEASED] += [file_id for file_id in list(lease.at_work) if lease.cancel(file_id)]

    def tell_all(self):
        """Tells the verdicts, a lease at a time: those that wait for long enough, or for no other file of their lease."""
        is_time = self.stopping or time.monotonic() >= self.tell_at
        for lease in list(self.leases):
            if is_time or not lease.at_work:
                for verdict, ids in list(lease.verdicts.items()):
                    if ids:
                        self.tell(lease, verdict, ids)
                    # Only now: one that met a lost connection is told again.
                    del lease.verdicts[verdict]
            if not lease.at_work and not lease.verdicts:
                self.leases.remove(lease)
        if is_time:
            self.tell_at = time.monotonic() + TELL_EVERY

    def tell(self, lease, verdict, ids):
        rows = self.db.execute(STATEMENTS[verdict],
                               {'session': lease.session, 'ids': ids, 'verdict': verdict, 'token': lease.token}).fetchall()
        self.counts.update(outcome if changed else 'lost' for changed, outcome in rows)

    def renew(self, lease):
        """Makes a lease last longer; files that it does not hold any more need not be begun."""
        rows = self.db.execute('SELECT file_ingestion_id, lease_expires_at FROM session_files.extend_lease(%s, %s, %s, %s)',
                               [lease.session, lease.ids(), lease.token, self.duration()]).fetchall()
        lease.renew_at = time.monotonic() + self.args.lease / 2
        self.counts['lost'] += sum(expires_at is None and lease.cancel(file_id) for file_id, expires_at in rows)

    def rate(self, done):
        """Gives how many files of the session are done per second, over the last minute as far as it was seen."""
        now = time.monotonic()
        self.seen.append((now, done))
        while self.seen[0][0] < now - 60:
            self.seen.popleft()
        since, before = self.seen[0]
        return (done - before) / (now - since) if now > since else 0

    def report(self):
        """Shows how far the session is, or, without one, this worker; and sees whether the session is done."""
        # One that only waits leaves the server alone.
        self.report_at = time.monotonic() + (REPORT_EVERY if self.leases else max(REPORT_EVERY, self.args.poll))
        if self.args.session is None:
            self.bar.show(f'{self.counts["finished"]:,} files finished, {self.counts["failed"]:,} failed', 0)
        else:
            row = self.db.execute('SELECT status, total, pending FROM session_files.session_progress WHERE session_id = %s',
                                  [self.args.session]).fetchone()
            if row is None:
                raise psycopg.errors.NoDataFound(f'there is no session "{self.args.session}"')
            status, total, pending = row
            done = total - pending
            rate = self.rate(done)
            ends = f', {datetime.timedelta(seconds=int(pending / rate))} left' if rate > 0 and pending else ''
            self.bar.show(f'{done:,}/{total:,} files, {rate:.1f}/s{ends}', done / total if total else 0)
            if status == 'EXPIRED' and pending and not self.told_expiry:
                self.told_expiry = True
                self.bar.say(f'the session has expired: no worker gets its {pending:,} PENDING files; session_files.maintain() fails them')
            # What it holds itself it may finish.
            if self.args.until_done and (status == 'EXPIRED' and not self.leases or status != 'OPEN' and pending == 0):
                self.stop()


def count(text):
    if not 1 <= int(text) <= 100000:
        raise argparse.ArgumentTypeError(f'not within 1 and 100000: {text}')
    return int(text)


def seconds(text):
    if not 0.001 <= float(text) <= 1e6:
        raise argparse.ArgumentTypeError(f'not within 0.001 and 1000000: {text}')
    return float(text)


def parse_arguments():
    parser = argparse.ArgumentParser(
        description='Judges the files of upload sessions.', formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    option = parser.add_argument
    option('folder', help='where the files are')
    option('--session', type=uuid.UUID, help='work only for this session')
    option('--workspace', help='work only for sessions of this workspace')
    option('--name', default=f'{socket.gethostname()}:{os.getpid()}', help='what the views of the database call this worker')
    option('--threads', type=count, default=8, help='files to have at work at the same time')
    option('--in-flight', type=count, default=400, help='files to hold, most of them so that no thread has to wait')
    option('--batch', type=count, default=100, help='files to claim at once')
    option('--lease', type=seconds, default=60, metavar='SECONDS', help='for how long; extended when half of it is over')
    option('--poll', type=seconds, default=3, metavar='SECONDS', help='look for work this often, even without a notification')
    option('--delay', type=seconds, default=0, metavar='SECONDS', help='pretend that each file takes so much longer')
    option('--until-done', action='store_true', help='end when the session takes no more files and none is PENDING, or it has expired')
    args = parser.parse_args()
    if not os.path.isdir(args.folder):
        parser.error(f'not a folder: {args.folder}')
    if args.until_done and args.session is None:
        parser.error('--until-done needs --session')
    args.batch = min(args.batch, args.in_flight)
    return args


def main():
    args = parse_arguments()
    worker = Worker(args)
    try:
        worker.run()
    except psycopg.Error as error:
        sys.exit(f'{args.name}: {error}')
    finally:
        print(f'{args.name}:', ', '.join(f'{worker.counts[outcome]} {outcome}' for outcome in OUTCOMES))


if __name__ == '__main__':
    main()
