#!/usr/bin/python3
"""Judges the files of upload sessions, as long as it is let: examples/worker.py [OPTION]... FOLDER

It claims files for a time (a lease), judges many at once in threads, and reports how they ended, in batches. Any number of workers share the work,
those on other machines too. On SIGTERM or SIGINT it claims no more, gives what is at work a moment (--grace), reports, releases the rest, and ends. A
second signal ends it at once, and its leases run out. When the connection is lost, it connects again and goes on; verdicts are kept meanwhile.

The role needs a grant of the workspace as worker. The status is 0, but with --until-done 1 if files of the session failed or are left; and 2 if the
program could not run.
"""

import signal

# Until client.on_signal is there for them.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})

import argparse
import collections
import concurrent.futures
import os
import select
import socket
import sys
import threading
import time
import uuid

import client
from folder import Judge, shown

REPORT_EVERY = 0.5    # seconds; sooner when a claim is through
SHOW_EVERY = 1
LAST_MOMENT = 0.8     # for the last reports
MOST_ERRORS = 10000   # that are remembered for the summary

WORK, DONE = 'session_files_work', 'session_files_done'
OUTCOMES = ['finished', 'failed', 'delayed', 'released', 'lost']
OUTCOME_OF = {'FINISHED': 'finished', 'FAILED': 'failed', 'PENDING': 'delayed', 'RELEASED': 'released'}
# Why a file fails (None: it does not), and an error's text.
Verdict = collections.namedtuple('Verdict', 'reason error')
Session = collections.namedtuple('Session', 'workspace status total pending failed failed_by_reason')
RELEASE = Verdict('released', None)
CLAIM = '''SELECT lease_token, file_ingestion_id, name
    FROM session_files.claim_files(%(name)s, %(batch)s, %(lease)s, %(workspace)s, %(session)s)'''
# A token is of one claim, so there is no need to say which sessions. Each row: id, whether it changed, status, reason.
FINISH = '''SELECT file_ingestion_id, changed, ingestion_status, ingestion_status_reason
    FROM session_files.finish_files(NULL, %(ids)s, %(token)s)'''
FAIL = '''SELECT file_ingestion_id, changed, ingestion_status, ingestion_status_reason
    FROM session_files.fail_files(NULL, %(ids)s, %(reason)s, %(token)s, error => %(error)s)'''
GIVE_BACK = "SELECT file_ingestion_id, changed, 'RELEASED', NULL FROM session_files.release_files(NULL, %(ids)s, %(token)s)"
EXTEND = 'SELECT file_ingestion_id FROM session_files.extend_lease(NULL, %(ids)s, %(token)s, %(lease)s) WHERE lease_expires_at IS NULL'
PROGRESS = '''SELECT workspace_name, status, total, pending, failed, failed_by_reason
    FROM session_files.session_progress WHERE session_id = %s'''
FIRST_FAILED = '''SELECT file_ingestion_id, name, ingestion_status_reason
    FROM session_files.list_session_files(%s, %s, 'FAILED', 'created_at ASC', max_files => 10)'''


class Lease:
    """What one claim gave: a future of a verdict for each file that is not reported yet."""

    def __init__(self, token, extend_at):
        self.token = token
        self.extend_at = extend_at
        self.files = {}


class Worker:
    """All but judging is done by the main thread. It waits for notifications, verdicts, signals and the time, whichever comes first."""

    def __init__(self, args):
        self.args = args
        self.progress = client.Progress('{n:,} files done, {rate_noinv_fmt}{postfix}' if args.session is None else
                                        '{n:,}/{total:,} files, {rate_noinv_fmt}, {remaining} left{postfix}')
        self.stopping = threading.Event()
        self.db = client.Database(args.name, self.progress.say, args.patience, (WORK, DONE), self.stopping)
        self.judge = Judge(args.folder, args.links == 'follow')
        self.pool = concurrent.futures.ThreadPoolExecutor(args.threads)
        self.leases = []
        self.counts = collections.Counter()
        self.reasons = collections.Counter()
        self.errors = {}
        self.session = None    # as it was when it was looked at last
        self.done = False
        self.said_expiry = False
        self.claim_at = self.report_at = self.show_at = 0
        self.give_up_at = None
        self.wake_reader, self.wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self):
        client.on_signal(self.stop)
        while self.leases or not (self.done or self.stopping.is_set()):
            self.report_all()
            self.extend_all()
            if self.has_room() and time.monotonic() >= self.claim_at:
                self.claim()
            if time.monotonic() >= self.show_at:
                self.show()
            self.wait()
        if not self.stopping.is_set():
            self.sum_up()
        return 1 if self.args.until_done and not self.is_all_finished() else 0

    def stop(self, number):
        """Has the main thread end; or, if it takes too long, as a server does not respond, ends without it."""
        self.progress.say(f'{self.args.name}: stopping by {signal.Signals(number).name}')
        self.give_up_at = time.monotonic() + self.args.grace
        self.stopping.set()
        self.wake()
        # Without a connection and a lease there is nothing to give back.
        if self.leases or self.db.connection is not None:
            signal.sigtimedwait(client.SIGNALS, self.args.grace + LAST_MOMENT)
        held = sum(len(lease.files) for lease in self.leases)
        if held:
            self.progress.say(f'{self.args.name}: {held} files stay claimed until their lease ends')
        self.say_counts()
        client.end(1 if self.args.until_done else 0)

    def is_all_finished(self):
        session = self.session
        return session is not None and session.status != 'OPEN' and session.pending == session.failed == 0

    def wake(self):
        try:
            os.write(self.wake_writer, b'.')
        except BlockingIOError:
            # The pipe is full: the main thread will wake up.
            pass

    def wait(self):
        """Waits until there is something to do."""
        for channel, session in self.db.take_notifications():
            if None in (session, self.args.session) or session == str(self.args.session):
                if channel == WORK:
                    self.claim_at = 0
                else:
                    self.show_at = 0
        if self.done or self.stopping.is_set() and not self.leases:
            return
        until = min([self.show_at, *(lease.extend_at for lease in self.leases)])
        if self.has_room():
            until = min(until, self.claim_at)
        if any(future.done() for lease in self.leases for future in lease.files.values()):
            until = min(until, self.report_at)
        if self.stopping.is_set():
            until = min(until, self.give_up_at)
        sources = [self.wake_reader] + ([self.db.connection] if self.db.connection else [])
        ready, _, _ = select.select(sources, [], [], max(0, until - time.monotonic()))
        if self.wake_reader in ready:
            os.read(self.wake_reader, 65536)

    def has_room(self):
        held = sum(len(lease.files) for lease in self.leases)
        return not self.done and not self.stopping.is_set() and held + self.args.batch <= self.args.in_flight

    def claim(self):
        extend_at = time.monotonic() + self.args.lease / 2
        # No notification says that leases have run out, or that the time of files to be tried again has come. Set before asking: a notification
        # may come with the rows.
        self.claim_at = time.monotonic() + self.args.poll
        rows = self.db.execute(CLAIM, {**vars(self.args), 'lease': self.duration()})
        if rows:
            lease = Lease(rows[0][0], extend_at)
            for _, file_id, name in rows:
                lease.files[file_id] = self.pool.submit(self.work, name)
            for future in lease.files.values():
                future.add_done_callback(lambda _: self.wake())
            self.leases.append(lease)
            self.claim_at = 0
            self.show_at = min(self.show_at, time.monotonic() + SHOW_EVERY)

    def duration(self):
        return f'{self.args.lease:f} seconds'

    def work(self, name):
        """Judges a file; this runs in a thread."""
        try:
            time.sleep(self.args.delay)
            return Verdict(*self.judge.judge(name))
        except Exception as error:
            # Otherwise the file would be lost.
            return Verdict('INGESTING_FILE_FAILED', repr(error))

    def report_all(self):
        """Reports the verdicts, a lease at a time: those that wait for long enough, or for no other file of their lease."""
        if self.stopping.is_set():
            for future in [future for lease in self.leases for future in lease.files.values()]:
                future.cancel()
        is_time = self.stopping.is_set() or time.monotonic() >= self.report_at
        if is_time:
            self.report_at = time.monotonic() + REPORT_EVERY
        for lease in list(self.leases):
            if is_time or all(future.done() for future in lease.files.values()):
                verdicts = collections.defaultdict(list)
                for file_id, future in lease.files.items():
                    verdicts[self.verdict_of(future)].append(file_id)
                verdicts.pop(None, None)
                for verdict, ids in verdicts.items():
                    self.report(lease, verdict, ids)
            if not lease.files:
                self.leases.remove(lease)

    def verdict_of(self, future):
        """Returns a file's verdict, or None if it is with the threads and there is time."""
        if future.done() and not future.cancelled():
            return future.result()
        return RELEASE if self.stopping.is_set() and (future.done() or time.monotonic() >= self.give_up_at) else None

    def report(self, lease, verdict, ids):
        statement = GIVE_BACK if verdict is RELEASE else FAIL if verdict.reason else FINISH
        # What counts is what became of a file. The session may not take its name twice, or have it tried again.
        for file_id, changed, status, reason in self.db.execute(statement, {'ids': ids, 'token': lease.token, **verdict._asdict()}):
            self.counts[OUTCOME_OF[status] if changed else 'lost'] += 1
            if changed and status == 'FAILED':
                self.reasons[reason] += 1
                if verdict.error and len(self.errors) < MOST_ERRORS:
                    self.errors[file_id] = verdict.error
        for file_id in ids:
            del lease.files[file_id]

    def extend_all(self):
        """Has leases last longer. Files that one does not hold any more need not be begun."""
        for lease in self.leases:
            if time.monotonic() >= lease.extend_at:
                lost = self.db.execute(EXTEND, {'ids': list(lease.files), 'token': lease.token, 'lease': self.duration()})
                lease.extend_at = time.monotonic() + self.args.lease / 2
                for file_id, in lost:
                    if lease.files[file_id].cancel():
                        del lease.files[file_id]
                        self.counts['lost'] += 1

    def show(self):
        """Shows how far the session is, or, without one, this worker; and sees whether the session is done."""
        # One that only waits leaves the server alone.
        self.show_at = time.monotonic() + (SHOW_EVERY if self.leases else max(SHOW_EVERY, self.args.poll))
        if self.args.session is None:
            self.progress.show(self.counts['finished'] + self.counts['failed'], None, self.reasons)
            return
        rows = self.db.execute(PROGRESS, [self.args.session])
        if not rows:
            raise client.Failure(f'there is no session "{self.args.session}"')
        self.session = session = Session(*rows[0])
        self.progress.show(session.total - session.pending, session.total, session.failed_by_reason)
        if session.status == 'EXPIRED' and session.pending and not self.said_expiry:
            self.said_expiry = True
            self.progress.say(f'the session has expired: no worker gets its {session.pending:,} PENDING files; session_files.maintain() fails them')
        # What it holds itself it may finish.
        if self.args.until_done and not self.leases:
            self.done = session.status == 'EXPIRED' or session.status != 'OPEN' and session.pending == 0

    def sum_up(self):
        """Says which files of the session failed first; why, in the words of an error, if it was this worker that met it."""
        self.show()
        self.progress.show_line()
        self.progress.end()
        session = self.session
        if session.failed:
            print(f'{session.failed:,} of {session.total:,} files failed:', file=sys.stderr)
            rows = self.db.execute(FIRST_FAILED, [session.workspace, self.args.session])
            for file_id, name, reason in rows:
                error = self.errors.get(file_id)
                print(f'  {shown(name)}: {reason}{f" ({error})" if error else ""}', file=sys.stderr)
            if session.failed > len(rows):
                print(f'  and {session.failed - len(rows):,} more', file=sys.stderr)

    def say_counts(self):
        print(f'{self.args.name}:', ', '.join(f'{self.counts[outcome]} {outcome}' for outcome in OUTCOMES), flush=True)


def count(text):
    if not 1 <= int(text) <= 100000:
        raise argparse.ArgumentTypeError(f'not within 1 and 100000: {text}')
    return int(text)


def parse_arguments():
    parser = client.Parser(
        usage='worker.py [OPTION]... FOLDER', description='Judges the files of upload sessions, which are in FOLDER.',
        epilog='example: PGDATABASE=files worker.py ~/inbox --session 01a20be0-… --until-done\n'
        'status: 0, 1 with --until-done if files failed or are left, 2 could not run')
    option = parser.add_argument
    option('folder', metavar='FOLDER', type=client.folder, help=argparse.SUPPRESS)
    option('--session', type=uuid.UUID, metavar='ID', help='work only for this session')
    option('--workspace', metavar='NAME', help='work only for sessions of this workspace')
    option('--until-done', action='store_true', help='end when the session has ended and no file is PENDING')
    option('--links', choices=['refuse', 'follow'], default='refuse', metavar='refuse|follow', help='follow: those that stay within the folder')
    option('--name', default=f'{socket.gethostname()}:{os.getpid()}', help='what the views call this worker (host:process)')
    option('--threads', type=count, default=8, metavar='N', help='files to have at work at the same time (8)')
    option('--batch', type=count, default=100, metavar='N', help='files to claim at once (100)')
    option('--in-flight', type=count, default=400, metavar='N', help='files to hold, so that no thread waits (400)')
    option('--lease', type=client.seconds, default=60, metavar='SECONDS', help='extended when half of it is over (60)')
    option('--poll', type=client.seconds, default=3, metavar='SECONDS', help='look for work, if nothing is notified (3)')
    option('--grace', type=client.seconds, default=1, metavar='SECONDS', help='for what is at work at SIGTERM or SIGINT (1)')
    option('--patience', type=client.seconds, default=600, metavar='SECONDS', help='to try again after what may pass (600)')
    option('--delay', type=client.seconds, default=0, metavar='SECONDS', help='pretend that a file takes so much longer')
    args = parser.parse_args()
    if args.until_done and args.session is None:
        parser.error('--until-done needs --session')
    args.batch = min(args.batch, args.in_flight)
    return args


def main():
    worker = Worker(parse_arguments())
    try:
        return worker.run()
    finally:
        worker.progress.end()
        worker.say_counts()


if __name__ == '__main__':
    client.run(main)
