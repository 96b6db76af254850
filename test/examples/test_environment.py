"""examples/upload.py and examples/worker.py where the environment is not as it was when they were written: behind PgBouncer in transaction mode, with
other encodings, IntervalStyles and time zones, and over the promotion of a standby.

The pooler and the clusters are thrown away. The extension is that of the PostgreSQL whose initdb is in the PATH.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import psycopg
import pytest
from conftest import EXAMPLES, Scene, wait_until
from psycopg import sql

PORT = '5432'
# Of who may run a server.
SERVER_USER = ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups'] if os.geteuid() == 0 else []
ENVIRONMENTS = {
    'SQL_ASCII': {'PGCLIENTENCODING': 'SQL_ASCII', 'PGTZ': 'America/St_Johns', 'PGDATESTYLE': 'German'},
    'LATIN1': {'PGCLIENTENCODING': 'LATIN1', 'LC_ALL': 'C'},
    'postgres_verbose': {'IntervalStyle': 'postgres_verbose', 'TimeZone': 'Pacific/Kiritimati', 'DateStyle': 'SQL, DMY'},
    'sql_standard': {'IntervalStyle': 'sql_standard', 'TimeZone': '<-13:37>+13:37', 'DateStyle': 'Postgres, YMD'},
    'iso_8601': {'IntervalStyle': 'iso_8601', 'client_encoding': 'SJIS', 'bytea_output': 'escape', 'standard_conforming_strings': 'off'},
    'hardly any': {'default_transaction_isolation': 'serializable', 'extra_float_digits': '-15', 'search_path': '', 'row_security': 'off',
                   'plan_cache_mode': 'force_generic_plan', 'default_transaction_deferrable': 'on', 'backslash_quote': 'off'},
}


class Program:
    """An example at work, in an environment, as the role of the environment's PGUSER."""

    def __init__(self, scene, script, *arguments, **environment):
        self.output = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [sys.executable, EXAMPLES / script, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT,
            env={**os.environ, 'PGUSER': scene.roles['uploader' if script == 'upload.py' else 'worker'], **environment})
        scene.programs.append(self)

    def said(self):
        return os.pread(self.output.fileno(), 1 << 20, 0).decode(errors='replace')

    def end(self):
        wait_until(lambda: self.process.poll() is not None)
        assert 'Traceback' not in self.said(), self.said()
        return self.process.returncode

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.output.close()


def start_workers(scene, count, *options, **environment):
    return [Program(scene, 'worker.py', scene.folder, '--session', scene.session, '--until-done', *options, **environment) for _ in range(count)]


@pytest.fixture
def logins(db, roles):
    """Has the roles log in by themselves: a pooler takes no options."""
    for role in roles.values():
        db.execute(sql.SQL('ALTER ROLE {} LOGIN').format(sql.Identifier(role)))
    yield roles
    for role in roles.values():
        db.execute(sql.SQL('ALTER ROLE {} RESET ALL').format(sql.Identifier(role)))
        db.execute(sql.SQL('ALTER ROLE {} NOLOGIN').format(sql.Identifier(role)))


def make_files(folder, good=60):
    """Makes files with names that not every encoding has, and gives what becomes of them."""
    names = {'☂ 🎉': 'FINISHED', 'é': 'FINISHED', 'ÿ\n': 'FINISHED', '日本': 'EMPTY_FILE', r'\\x': 'FINISHED', 'Ж': 'FAILED_TO_PARSE_META',
             'Ж.meta.json': 'FINISHED', r'\xe9': 'FINISHED'}
    paths = {r'\\x': rb'\x', r'\xe9': b'\xe9'}
    for name, outcome in names.items():
        path = os.path.join(os.fsencode(folder), paths.get(name, os.fsencode(name)))
        with open(path, 'wb') as file:
            file.write(b'' if outcome == 'EMPTY_FILE' else '{"☂": '.encode())
    for number in range(good):
        (folder / f'{number}').write_text('good')
    return {**names, **{str(number): 'FINISHED' for number in range(good)}}


@pytest.fixture
def bouncer(db, logins):
    """The environment of clients of a PgBouncer that has two connections for all of them."""
    with tempfile.TemporaryDirectory(dir='/tmp') as directory:
        directory = pathlib.Path(directory)
        if SERVER_USER:
            shutil.chown(directory, 'postgres')
        (directory / 'pgbouncer.ini').write_text(f'''[databases]
* = host={os.environ['PGHOST']} port={os.environ.get('PGPORT', PORT)} pool_size=2
[pgbouncer]
pool_mode = transaction
auth_type = trust
auth_file = {directory}/users
unix_socket_dir = {directory}
listen_addr =
listen_port = 6432
''')
        (directory / 'users').write_text(''.join(f'"{role}" ""\n' for role in logins.values()))
        with open(directory / 'log', 'wb') as log:
            process = subprocess.Popen([*SERVER_USER, shutil.which('pgbouncer', path=f'{os.environ["PATH"]}:/usr/sbin'), directory / 'pgbouncer.ini'],
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until(lambda: (directory / '.s.PGSQL.6432').exists() or process.poll() is not None)
            assert process.poll() is None, (directory / 'log').read_text()
            yield {'PGHOST': str(directory), 'PGPORT': '6432'}
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def run_all(scene, workers, **environment):
    """Uploads the folder and has workers judge it, who extend their leases, too; checks each end."""
    expected = make_files(scene.folder)
    upload = Program(scene, 'upload.py', scene.session, scene.folder, **environment)
    assert upload.end() == 0, upload.said()
    for worker in start_workers(scene, workers, '--lease', 1.5, '--delay', 0.06, '--poll', 0.3, '--batch', 40, '--threads', 4, **environment):
        assert worker.end() == 1, worker.said()
    assert scene.statuses() == expected


def set_environment(scene, name):
    """Has an environment's settings hold for the roles, and returns its variables."""
    settings = ENVIRONMENTS[name]
    for setting in settings:
        for role in scene.roles.values():
            if not setting.isupper():
                scene.db.execute(sql.SQL('ALTER ROLE {} SET {} = {}').format(sql.Identifier(role), sql.Identifier(setting), settings[setting]))
    return {setting: value for setting, value in settings.items() if setting.isupper()}


@pytest.mark.parametrize('name', ENVIRONMENTS)
def test_settings_of_the_client(scene, logins, name):
    run_all(scene, 1, **set_environment(scene, name))


@pytest.mark.parametrize('name', ['SQL_ASCII', 'LATIN1', 'sql_standard'])
def test_pgbouncer_in_transaction_mode(scene, bouncer, name):
    run_all(scene, 3, **bouncer, **set_environment(scene, name))


class Cluster:
    """A PostgreSQL of its own, reached by a socket in its directory, by the superuser postgres."""

    def __init__(self, directory):
        self.directory = directory
        self.directory.mkdir(mode=0o700)
        if SERVER_USER:
            shutil.chown(self.directory, 'postgres')
        self.data = directory / 'data'

    def run(self, *command):
        result = subprocess.run([*SERVER_USER, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                env={**os.environ, 'PGUSER': 'postgres'})
        assert result.returncode == 0, result.stdout

    def control(self, *command):
        self.run('pg_ctl', *command, '--wait', '--silent', '--pgdata', self.data)

    def start(self):
        with open(self.data / 'postgresql.conf', 'a') as conf:
            conf.write(f"\nlisten_addresses = ''\nunix_socket_directories = '{self.directory}'\nport = {PORT}\nfsync = off\n")
        self.control('start', '--log', self.directory / 'log')

    def stop(self):
        if (self.data / 'postmaster.pid').exists():
            self.control('stop', '--mode=fast')

    def connect(self):
        return psycopg.connect(host=str(self.directory), port=PORT, user='postgres', dbname='postgres', autocommit=True)


@pytest.fixture
def pair():
    """A primary and its standby, in short paths: that of a socket is short."""
    with tempfile.TemporaryDirectory(dir='/tmp') as directory:
        pathlib.Path(directory).chmod(0o755)
        primary, standby = (Cluster(pathlib.Path(directory) / name) for name in 'ab')
        try:
            primary.run('initdb', '--pgdata', primary.data, '--auth=trust', '--username=postgres', '--encoding=UTF8', '--locale=C.UTF-8', '--no-sync')
            primary.start()
            standby.run('pg_basebackup', '--pgdata', standby.data, '--host', primary.directory, '--port', PORT, '--checkpoint=fast',
                        '--write-recovery-conf', '--no-sync', '--wal-method=stream')
            standby.start()
            yield primary, standby
        finally:
            primary.stop()
            standby.stop()


@pytest.fixture
def pair_scene(pair, tmp_path):
    with pair[0].connect() as db:
        db.execute('CREATE EXTENSION session_files')
        roles = {}
        for kind in ('uploader', 'worker'):
            roles[kind] = kind
            db.execute(f'CREATE ROLE {kind} LOGIN')
            db.execute('SELECT session_files.grant_workspace(%s, NULL, %s)', [kind, kind])
        scene = Scene(db, roles, tmp_path)
    yield scene
    for program in scene.programs:
        program.kill()


def test_promotion(pair, pair_scene):
    primary, standby = pair
    scene = pair_scene
    hosts = {'PGHOST': f'{primary.directory},{standby.directory}', 'PGPORT': PORT, 'PGDATABASE': 'postgres'}
    expected = make_files(scene.folder, 300)
    # A switchover: when the primary has stopped, the standby has what was committed.
    with primary.connect() as scene.db:
        second_session = scene.value('SELECT session_files.create_session(%s)', scene.workspace)
        upload = Program(scene, 'upload.py', scene.session, scene.folder, **hosts)
        assert upload.end() == 0, upload.said()
        # What is lost stays under its lease: then the workers would wait for longer than the test.
        workers = [worker for target in ('any', 'read-write') for worker in start_workers(
            scene, 1, '--lease', 3600, '--delay', 0.05, '--threads', 2, PGTARGETSESSIONATTRS=target, **hosts)]
        wait_until(lambda: scene.count('FINISHED') > 20)
    primary.control('stop', '--mode=fast')
    with standby.connect() as scene.db:
        before = scene.count('FINISHED')
        # They meet a server that only reads, and an upload begins at it.
        upload = Program(scene, 'upload.py', second_session, scene.folder, '--keep-open', **hosts)
        for program in (*workers, upload):
            wait_until(lambda: program.said().count('trying again') >= 2 or program.process.poll() is not None)
        assert scene.count('FINISHED') == before < 300
        standby.control('promote')
        assert upload.end() == 0, upload.said()
        for worker in workers:
            assert worker.end() == 1, worker.said()
        assert scene.statuses() == expected
        assert scene.value('SELECT count(*) FROM session_files.files WHERE session_id = %s', second_session) == len(expected)
    # Each verdict counted once.
    counted = [int(worker.said().rpartition(': ')[2].split(' finished')[0]) for worker in workers]
    assert sum(counted) == list(expected.values()).count('FINISHED')


def test_a_connection_that_becomes_read_only(scene, logins):
    """As behind a pooler or a proxy, where a connection lives on over a switchover: what it is to write is refused for a while."""
    expected = make_files(scene.folder)
    upload = Program(scene, 'upload.py', scene.session, scene.folder)
    assert upload.end() == 0, upload.said()
    worker, = start_workers(scene, 1, '--lease', 3600, '--delay', 0.1, '--threads', 2, '--in-flight', 30, '--batch', 10)
    wait_until(lambda: scene.count('FINISHED') > 5)
    scene.db.execute('ALTER SYSTEM SET default_transaction_read_only = on')
    try:
        scene.db.execute('SELECT pg_reload_conf()')
        wait_until(lambda: 'read-only' in worker.said() or worker.process.poll() is not None)
    finally:
        scene.db.execute('SET default_transaction_read_only = off')
        scene.db.execute('ALTER SYSTEM RESET default_transaction_read_only')
        scene.db.execute('SELECT pg_reload_conf()')
        scene.db.execute('RESET default_transaction_read_only')
        # Reloaded by the next statement.
        wait_until(lambda: scene.value("SELECT current_setting('default_transaction_read_only')") == 'off')
    assert worker.end() == 1, worker.said()
    assert scene.statuses() == expected
