"""What upload.py and worker.py share: a connection that is made again, signals, progress, arguments, and the end of a program.

What may pass by itself (a lost connection, a server that is not there, a deadlock, a switchover) is tried again for a while. Anything else ends
the program with one line and the status 2.
"""

import argparse
import os
import re
import signal
import sys
import threading
import time
import traceback

import psycopg
import tenacity
from tqdm import tqdm

# What the environment of a user may say otherwise. Nothing is prepared: the next statement may come to another server process, behind a pooler. Without
# keepalives, a connection whose server vanished would wait for hours.
PINNED = {'autocommit': True, 'prepare_threshold': None, 'client_encoding': 'UTF8', 'target_session_attrs': 'read-write',
          'connect_timeout': 10, 'keepalives_idle': 30, 'tcp_user_timeout': 30000}
# Serialization failure, deadlock, read only (what was the primary is none any more), too many connections.
PASSING = {'40001', '40P01', '25006', '53300'}
# Of a connection that is refused there is only the text.
REFUSED = re.compile(r'authentication failed|no pg_hba\.conf entry|no password supplied|(database|role) ".*" does not exist')
SIGNALS = {signal.SIGINT, signal.SIGTERM}
LINE_EVERY = 10    # seconds, where there is no terminal


class Failure(Exception):
    """What ends a program with one line."""


def passes(error):
    """Returns whether an error may pass by itself."""
    state = getattr(error, 'sqlstate', None)
    if state is None:
        return isinstance(error, psycopg.OperationalError) and not REFUSED.search(str(error))
    return state in PASSING or state.startswith(('08', '57P0'))


def message_of(error):
    """Returns an error as one line."""
    return getattr(error, 'diag', None) and error.diag.message_primary or ' '.join(str(error).split())


class Database:
    """The database of the environment (PGHOST, PGDATABASE, PGUSER, ...), for one thread."""

    def __init__(self, name, say, patience, channels=(), stopping=None):
        self.name = name
        self.say = say
        self.channels = channels
        self.stopping = stopping or threading.Event()
        self.connection = None
        self.heard = []
        self.said = set()
        self.retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(passes), wait=tenacity.wait_random_exponential(multiplier=0.2, max=10),
            stop=tenacity.stop_after_delay(patience), sleep=self.sleep, before_sleep=self.say_attempt, reraise=True)

    def execute(self, statement, parameters):
        """Returns the rows of a statement, which has to be one that can be repeated: the first attempt may have been committed."""
        return self.retrying(self.try_to_execute, statement, parameters)

    def try_to_execute(self, statement, parameters):
        try:
            if self.connection is None:
                self.connect()
            return self.connection.execute(statement, parameters).fetchall()
        except psycopg.Error:
            self.close()
            raise

    def connect(self):
        self.connection = psycopg.connect(application_name=self.name, **PINNED)
        self.connection.add_notice_handler(self.say_notice)
        self.connection.add_notify_handler(lambda notification: self.heard.append((notification.channel, notification.payload)))
        # What was notified meanwhile was for others: of any session.
        self.heard = [(channel, None) for channel in self.channels]
        try:
            for channel in self.channels:
                self.connection.execute(f'LISTEN {channel}')
        except psycopg.Error as error:
            # A pooler may refuse it, or cut the connection. It takes a little longer to hear of work, that is all.
            self.channels = ()
            self.say(f'looking for work without notifications: {message_of(error)}')
            if self.connection.closed:
                raise

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def take_notifications(self):
        """Returns (channel, payload) of what was notified; None as the payload stands for any."""
        try:
            if self.connection is not None:
                self.connection.pgconn.consume_input()
                while notification := self.connection.pgconn.notifies():
                    self.heard.append((notification.relname.decode(), notification.extra.decode()))
        except psycopg.OperationalError:
            self.close()
            self.heard = [(channel, None) for channel in self.channels]
        heard, self.heard = self.heard, []
        return heard

    def say_notice(self, notice):
        """Says once that, for example, no workspace was granted to the role."""
        if notice.message_primary not in self.said:
            self.said.add(notice.message_primary)
            self.say(notice.message_primary)

    def say_attempt(self, attempt):
        if not self.stopping.is_set():
            self.say(f'{message_of(attempt.outcome.exception())}; trying again in {attempt.next_action.sleep:.1f} s')

    def sleep(self, seconds):
        # One that is to stop has no time for long waits.
        if self.stopping.wait(seconds):
            time.sleep(0.1)


class Progress:
    """How far a program is, on stderr: a bar on a terminal, else a line once in a while."""

    def __init__(self, layout):
        self.on_terminal = sys.stderr.isatty()
        self.options = {'unit': ' files', 'dynamic_ncols': True, **(
            {'bar_format': layout + ' |{bar}|', 'file': sys.stderr} if self.on_terminal else {'bar_format': layout, 'file': open(os.devnull, 'w')})}
        self.bar = None
        self.line_at = time.monotonic() + LINE_EVERY

    def show(self, done, total=None, failures=None):
        if self.bar is None:
            # What was done before says nothing of the rate.
            self.bar = tqdm(initial=done, total=total, **self.options)
        self.bar.total = total
        self.bar.set_postfix_str(', '.join(f'{count:,} {reason}' for reason, count in (failures or {}).items()), refresh=False)
        self.bar.update(done - self.bar.n)
        self.bar.refresh()
        if time.monotonic() >= self.line_at:
            self.show_line()

    def show_line(self):
        self.line_at = time.monotonic() + LINE_EVERY
        if not self.on_terminal and self.bar is not None:
            self.say(str(self.bar))

    def say(self, text):
        tqdm.write(text, file=sys.stderr)

    def end(self):
        """Goes on below the bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class Parser(argparse.ArgumentParser):
    """One whose --help fits a screen, and whose errors are one line."""

    def __init__(self, **options):
        super().__init__(formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=26, width=80), **options)

    def error(self, message):
        self.exit(2, f'{self.prog}: {message} (--help says more)\n')


def seconds(text):
    if not 0.001 <= float(text) <= 1e6:
        raise argparse.ArgumentTypeError(f'not within 0.001 and 1000000: {text}')
    return float(text)


def folder(text):
    try:
        os.close(os.open(text, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as error:
        raise argparse.ArgumentTypeError(f'{text}: {error.strerror}')
    return text


def on_signal(stop):
    """Has a function called at the first SIGINT or SIGTERM, which the program has blocked from its start.

    That is in a thread of its own: whatever the main one waits for, a server or a file system, no signal is kept waiting.
    """
    threading.Thread(target=lambda: stop(signal.sigwait(SIGNALS)), daemon=True).start()


def end(status):
    """Ends the program at once, without a wait for its threads: one may be with a file system that does not respond."""
    sys.stdout.flush()
    os._exit(status)


def run(main):
    """Runs a program, and ends with its status: 2 if it could not run."""
    for stream in (sys.stdout, sys.stderr):
        # No name is to be the end, whatever the locale.
        stream.reconfigure(errors='backslashreplace')
    try:
        status = main()
    except (Failure, psycopg.Error, UnicodeError) as error:
        print(f'{os.path.basename(sys.argv[0])}: {message_of(error)}', file=sys.stderr)
        status = 2
    except Exception:
        traceback.print_exc()
        status = 2
    end(status)
