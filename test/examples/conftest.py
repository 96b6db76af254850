"""What the tests of the examples share: a session, programs under test in processes of their own, and waiting for what they do.

Needs a database with the extension, reached by the usual PG* variables, and a superuser's right there.
"""

import collections
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import uuid

import psycopg
import pytest
from psycopg import sql

EXAMPLES = pathlib.Path(__file__).parents[2] / 'examples'
# So long that only what will never be is given up.
PATIENCE = 60    # seconds

Result = collections.namedtuple('Result', 'status counts stderr')


def wait_until(condition):
    """Waits until a condition holds, and returns its value then."""
    give_up_at = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < give_up_at, 'what was waited for did not happen'
        time.sleep(0.01)
    return value


class Program:
    """An example at work, in the database as a role of its own."""

    def __init__(self, role, script, *arguments, **streams):
        self.process = subprocess.Popen(
            [sys.executable, EXAMPLES / script, *map(str, arguments)], env={**os.environ, 'PGOPTIONS': f'-c role={role}'}, text=True,
            **{'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, **streams})

    def signal(self, number):
        self.process.send_signal(number)

    def end(self):
        """Waits for its end; gives its status and what it counted."""
        stdout, stderr = self.process.communicate(timeout=PATIENCE)
        counts = {outcome: int(number) for number, outcome in re.findall(r'(\d+) ([a-z ]+)', (stdout or '').rpartition(':')[2])}
        return Result(self.process.returncode, counts, stderr)

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.communicate()


@pytest.fixture(scope='session')
def db():
    with psycopg.connect(autocommit=True) as connection:
        yield connection


@pytest.fixture(scope='session')
def roles(db):
    """Roles that may do what one grant lets them, and nothing else."""
    names = {part: f'examples_{part}_{uuid.uuid4().hex}' for part in ('uploader', 'worker')}
    for kind, name in names.items():
        db.execute(sql.SQL('CREATE ROLE {}').format(sql.Identifier(name)))
        db.execute('SELECT session_files.grant_workspace(%s, NULL, %s)', [name, kind])
    yield names
    for name in names.values():
        db.execute('SELECT session_files.revoke_workspace(%s, NULL)', [name])
        db.execute(sql.SQL('DROP ROLE {}').format(sql.Identifier(name)))


class Scene:
    """A session in a workspace of its own, a folder for its files, and the programs at work on them."""

    def __init__(self, db, roles, folder):
        self.db = db
        self.roles = roles
        self.folder = folder
        self.workspace = f'examples {uuid.uuid4()}'
        db.execute('SELECT session_files.create_workspace(%s)', [self.workspace])
        self.session = self.value('SELECT session_files.create_session(%s)', self.workspace)
        self.programs = []

    def value(self, statement, *parameters):
        return self.db.execute(statement, parameters).fetchone()[0]

    def make_files(self, count):
        """Makes good files."""
        for number in range(count):
            (self.folder / f'file {number}').write_text('good')

    def start_upload(self, *options, session=None, **streams):
        program = Program(self.roles['uploader'], 'upload.py', session or self.session, self.folder, *options, **streams)
        self.programs.append(program)
        return program

    def upload(self, *options, status=0):
        """Registers the folder, and gives what the program said."""
        result = self.start_upload(*options).end()
        assert result.status == status, result.stderr
        assert 'Traceback' not in result.stderr
        return result.stderr

    def start_worker(self, name, *options, session=True, **streams):
        scope = ['--session', self.session] if session else ['--workspace', self.workspace]
        worker = Program(self.roles['worker'], 'worker.py', self.folder, '--name', self.full_name(name), *scope, *options, **streams)
        self.programs.append(worker)
        return worker

    def full_name(self, name):
        return f'{name} {str(self.session)[-12:]}'

    def find_backend(self, name, last_query='claim_files|session_progress', since='-infinity'):
        """Gives the server process of a worker that has listened, and asked for something since; or None."""
        row = self.db.execute('''SELECT pid FROM pg_stat_activity WHERE application_name = %s AND state = 'idle'
            AND query ~ %s AND query_start > %s''', [self.full_name(name), last_query, since]).fetchone()
        return row and row[0]

    def lease_of(self, name):
        """Gives how many files a worker holds, when it claimed the first, and the end of the lease that runs out first."""
        return self.db.execute('SELECT sum(files), min(claimed_at), min(expires_at) FROM session_files.leases WHERE worker = %s',
                               [self.full_name(name)]).fetchone()

    def held_by(self, name):
        return self.lease_of(name)[0] or 0

    def status(self):
        return self.value('SELECT status FROM session_files.upload_sessions WHERE session_id = %s', self.session)

    def count(self, status):
        return self.value('SELECT count(*) FROM session_files.files WHERE session_id = %s AND ingestion_status = %s', self.session, status)

    def statuses(self):
        """Gives reason or status by name."""
        return dict(self.db.execute('''SELECT name, coalesce(ingestion_status_reason::text, ingestion_status::text)
            FROM session_files.files WHERE session_id = %s''', [self.session]).fetchall())

    def names(self):
        return set(self.statuses())

    def error_of(self, name):
        return self.value('SELECT error FROM session_files.files WHERE session_id = %s AND name = %s', self.session, name)


@pytest.fixture
def scene(db, roles, tmp_path):
    scene = Scene(db, roles, tmp_path)
    yield scene
    for program in scene.programs:
        program.kill()
    db.execute('DELETE FROM session_files.upload_sessions WHERE workspace_name = %s', [scene.workspace])
    db.execute('DELETE FROM session_files.workspaces WHERE name = %s', [scene.workspace])
