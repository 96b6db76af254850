"""examples/upload.py and examples/worker.py over a hostile folder: each file ends as hostile_folder.py says, for root and for a plain user.

Root is that of a user namespace, over the files of who runs the tests, and the plain user has none of its capabilities; both have a device in
the folder, by a mount. So the tests need no privilege. The seed of the random moments is printed; EXAMPLES_SEED replays it.
"""

import collections
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import pytest
from conftest import EXAMPLES, wait_until

import hostile_folder

MOST_MEMORY = 200 << 20
# Far more, so that a program that takes all there is fails the test, and not the machine.
ADDRESS_SPACE = 3 << 30
LONGEST_END = 2    # seconds
USERS = {'root': [], 'plain': ['unshare', '--user', '--map-user=1000', '--map-group=1000']}
# In a namespace root is who made it. So where this is root already, it is to be who can connect, which no root of a namespace could.
SERVER_USER = os.stat(os.environ['PGHOST']).st_uid
PLAIN = ['setpriv', f'--reuid={SERVER_USER}', '--clear-groups'] if os.geteuid() == 0 else []


def prefix_for(user, folder):
    """Gives what is to start a program, so that it is at work as a user."""
    return [*PLAIN, 'unshare', '--user', '--map-root-user', '--mount', 'sh', '-c', f'{hostile_folder.MOUNT_DEVICES} && exec "$@"', folder,
            *USERS[user], 'prlimit', f'--as={ADDRESS_SPACE}']


class Program:
    """An example at work, whose end has a limit, and memory is measured."""

    def __init__(self, scene, user, folder, script, *arguments, **environment):
        role = scene.roles['uploader' if script == 'upload.py' else 'worker']
        self.script = script
        self.stdout, self.stderr = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [*prefix_for(user, folder), sys.executable, EXAMPLES / script, *map(str, arguments), folder],
            env={**os.environ, 'PGOPTIONS': f'-c role={role}', **environment}, stdin=subprocess.DEVNULL, stdout=self.stdout, stderr=self.stderr)
        self.status = self.memory = None
        scene.programs.append(self)

    def has_ended(self):
        if self.status is None:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                self.status = self.process.returncode = os.waitstatus_to_exitcode(status)
                # Of a child it is at least what its parent had when it was made: that is little here.
                self.memory = usage.ru_maxrss << 10
        return self.status is not None

    def end(self):
        wait_until(self.has_ended)
        return self

    def said(self, stream='stderr'):
        file = getattr(self, stream)
        file.seek(0)
        return file.read().decode(errors='replace')

    def kill(self):
        if not self.has_ended():
            self.process.kill()
            self.end()
        self.stdout.close()
        self.stderr.close()

    def has_begun(self):
        """Returns whether Python has come to the script's own imports: before, a signal is none of its business."""
        try:
            return b'libpq' in pathlib.Path(f'/proc/{self.process.pid}/maps').read_bytes() or self.has_ended()
        except OSError:
            return self.has_ended()

    def problems(self):
        """Yields what no end of a program may have."""
        if self.memory > MOST_MEMORY:
            yield f'{self.script} took {self.memory >> 20} MB'
        if 'Traceback' in self.said():
            yield f'{self.script}: {self.said()[-3000:]}'


@pytest.fixture(scope='module')
def folder():
    """The hostile folder. Not below pytest's own, which are closed to others than who runs it."""
    with tempfile.TemporaryDirectory() as directory:
        if PLAIN:
            os.chown(directory, SERVER_USER, -1)
        folder = pathlib.Path(directory) / 'folder'
        subprocess.run([*PLAIN, sys.executable, hostile_folder.__file__, folder], check=True)
        yield folder
        hostile_folder.open_folders(folder)


def outcomes(user):
    """Gives the outcomes that each name may have."""
    return {name: outcome if isinstance(outcome, set) else {outcome}
            for name, case in hostile_folder.CASES.items() for outcome in [getattr(case, user)]}


def wrong_ends(scene, user, said):
    """Yields each file that did not end as it should, in the database or in a line of upload.py."""
    ends = scene.statuses()
    for name, allowed in outcomes(user).items():
        end = ends.pop(name, None)
        if end is None:
            end = {hostile_folder.EXCLUDED, hostile_folder.SAID} if name in said else {hostile_folder.EXCLUDED}
        else:
            end = {end}
        if not end & allowed:
            yield name[:100], end, allowed
    yield from ((name[:100], end, 'nothing') for name, end in ends.items())


def show(problems):
    """Prints what is wrong, of many of a kind some."""
    kinds = collections.defaultdict(list)
    for problem in problems:
        kinds[str(problem[1:]) if isinstance(problem, tuple) else str(problem)].append(problem)
    for kind, those in kinds.items():
        print(kind, len(those), [problem[0] for problem in those[:10]] if isinstance(those[0], tuple) else '')


def close(scene):
    scene.db.execute('SELECT session_files.close_session(%s)', [scene.session])


@pytest.mark.parametrize('user', USERS)
def test_each_file_ends_as_it_should(scene, folder, user):
    stop = threading.Event()
    changes = threading.Thread(target=hostile_folder.change, args=[str(folder), stop])
    changes.start()
    try:
        upload = Program(scene, user, folder, 'upload.py', scene.session).end()
        problems = [*upload.problems()]
        session = scene.value('SELECT status FROM session_files.upload_sessions WHERE session_id = %s', scene.session)
        # A folder was too deep, others were closed.
        if (upload.status, session) != (1, 'OPEN'):
            problems.append(f'upload.py ended with {upload.status}, and the session is {session}: {upload.said()[-3000:]}')
        if session == 'OPEN':
            close(scene)
        workers = [Program(scene, user, folder, 'worker.py', '--session', scene.session, '--until-done') for _ in range(2)]
        for worker in workers:
            worker.end()
            problems += worker.problems()
        # Each failed some, or there was nothing left for one.
        if sorted(worker.status for worker in workers) not in ([0, 1], [1, 1]):
            problems.append([(worker.status, worker.said()[-1000:]) for worker in workers])
    finally:
        stop.set()
        changes.join()
    problems += wrong_ends(scene, user, upload.said())
    if user == 'plain':
        for name in ['closed', r'closed ☂ \xe9', 'd closed']:
            error = scene.value('SELECT error FROM session_files.files WHERE session_id = %s AND name = %s', scene.session, name)
            if 'Permission denied' not in str(error):
                problems.append(f'the error of {name}: {error}')
    show(problems)
    print(f'memory: {[program.memory >> 20 for program in scene.programs]} MB')
    assert not problems


def test_what_is_registered_but_no_file_of_the_folder(scene, folder):
    names = ['pipe', 'socket', 'device', '../outside', '..', '.', '/etc/hostname', 'link out', 'link to folder/good',
             'link to folder outside/hostname', 'below/link up/good', 'link to itself', 'link to nothing', 'nothing', 'below', 'good/', 'good/good', 'below//good', 'below/./good',
             '//etc/hostname', r'\xe', r'\xff', r'\x2f', r'\x00', r'\x67ood', r'below\x2fgood', r'\x2e\x2e/outside', 'good\\', r'\y', '\ud7ff']
    (folder.parent / 'outside').write_text('good')
    scene.db.execute('SELECT session_files.register_files(%s, %s)', [scene.session, names])
    close(scene)
    worker = Program(scene, 'root', folder, 'worker.py', '--session', scene.session, '--until-done').end()
    finished = {name for name, status in scene.statuses().items() if status == hostile_folder.GOOD}
    print(scene.statuses())
    assert not [*worker.problems()]
    # No other name leads to a file, so that a file has one name.
    assert finished == set()


@pytest.fixture
def seed():
    seed = int(os.environ.get('EXAMPLES_SEED', random.randrange(1 << 32)))
    print(f'EXAMPLES_SEED={seed}')
    random.seed(seed)


def interrupt(program, longest):
    """Ends a program by a signal after a random time, and yields what is wrong with how it ended."""
    wait_until(program.has_begun)
    time.sleep(random.uniform(0, longest))
    number = random.choice([signal.SIGTERM, signal.SIGINT])
    if program.has_ended():
        return
    program.process.send_signal(number)
    sent_at = time.monotonic()
    program.end()
    took = time.monotonic() - sent_at
    print(f'{program.script}: {number.name}, {took:.2f} s, status {program.status}')
    yield from program.problems()
    if took > LONGEST_END:
        yield f'{program.script} went on for {took:.1f} s after {number.name}'


def test_a_signal_ends_each_at_once_and_no_file_is_lost(scene, folder, seed):
    problems = []
    for _ in range(5):
        problems += interrupt(Program(scene, 'plain', folder, 'upload.py', scene.session), 0.5)
    upload = Program(scene, 'plain', folder, 'upload.py', scene.session).end()
    close(scene)
    # Slow enough to be at work still when the last signal comes.
    options = ['--session', scene.session, '--delay', 0.02, '--lease', 600]
    for _ in range(7):
        for worker in [Program(scene, 'plain', folder, 'worker.py', *options) for _ in range(3)]:
            problems += interrupt(worker, 0.7)
    if scene.count('PENDING') == 0:
        problems.append('the worker was done too soon')
    held = scene.value('SELECT coalesce(sum(files), 0) FROM session_files.leases WHERE session_id = %s', scene.session)
    if held:
        problems.append(f'{held} files are still held')
        scene.db.execute('UPDATE session_files.file_queue SET due_at = now() WHERE session_id = %s', [scene.session])
    last = Program(scene, 'plain', folder, 'worker.py', '--session', scene.session, '--until-done').end()
    problems += last.problems()
    problems += wrong_ends(scene, 'plain', upload.said())
    show(problems)
    assert not problems


@pytest.mark.parametrize('server', ['silent', 'not there'])
@pytest.mark.parametrize('script', ['upload.py', 'worker.py'])
def test_a_signal_ends_what_waits_for_a_server(scene, folder, seed, server, script):
    with tempfile.TemporaryDirectory(dir='/tmp') as directory, socket.socket(socket.AF_UNIX) as listener:
        pathlib.Path(directory).chmod(0o755)
        if server == 'silent':
            listener.bind(f'{directory}/.s.PGSQL.5432')
            pathlib.Path(f'{directory}/.s.PGSQL.5432').chmod(0o666)
            listener.listen()
        arguments = [scene.session] if script == 'upload.py' else ['--session', scene.session]
        assert not [*interrupt(Program(scene, 'plain', folder, script, *arguments, PGHOST=directory, PGPORT='5432'), 1)]
