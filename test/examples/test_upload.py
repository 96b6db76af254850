"""examples/upload.py: what it registers of a folder, what it says of the rest, and how it ends."""

import os
import signal
import socket
import sys

import psycopg
import pytest
from conftest import EXAMPLES, wait_until

sys.path.insert(0, str(EXAMPLES))
import folder as folder_module    # noqa: E402
from client import passes    # noqa: E402

UNKNOWN = '00000000-0000-7000-8000-000000000000'


def test_upload_closes_session_unless_told(scene):
    scene.make_files(3)
    scene.upload('--keep-open')
    assert (scene.status(), scene.count('PENDING')) == ('OPEN', 3)
    scene.make_files(5)
    assert scene.upload() == ''
    assert (scene.status(), scene.count('PENDING')) == ('CLOSED', 5)


def test_excludes(scene):
    for name in ['.DS_Store', '~$report', 'Thumbs.db', 'desktop.ini', 'report', 'a.tmp', 'a.tmp.txt', '~report']:
        (scene.folder / name).touch()
    for name in ['cache', 'kept']:
        (scene.folder / name).mkdir()
        (scene.folder / name / 'file').touch()
        (scene.folder / name / 'Thumbs.db').touch()
    assert scene.upload('--keep-open', '--exclude', '*.tmp', '--exclude', 'cache') == ''
    assert scene.names() == {'report', 'a.tmp.txt', '~report', 'kept/file'}
    scene.upload('--no-default-excludes', '--exclude', 'cache')
    assert scene.names() == {'report', 'a.tmp', 'a.tmp.txt', '~report', 'kept/file', '.DS_Store', '~$report', 'Thumbs.db', 'desktop.ini', 'kept/Thumbs.db'}


def make_links(folder):
    (folder / 'below').mkdir()
    (folder / 'below' / 'file').write_text('good')
    outside = folder.with_name(f'{folder.name} outside')
    outside.mkdir()
    (outside / 'file').write_text('good')
    for name, target in [('to file', 'below/file'), ('to folder', 'below'), ('below/up', '..')]:
        (folder / name).symlink_to(target)
    return outside


def test_links_are_refused(scene):
    (scene.folder / 'out').symlink_to(make_links(scene.folder))
    said = scene.upload()
    assert scene.names() == {'below/file'} and scene.status() == 'CLOSED'
    for name in ['to file', 'to folder', 'below/up', 'out']:
        assert f'skipped: {name}: a link' in said.splitlines()
    assert said.splitlines()[-1] == '4 links and special files skipped'


def test_links_are_followed_within_the_folder(scene):
    outside = make_links(scene.folder)
    said = scene.upload('--links', 'follow', '--keep-open')
    assert scene.names() == {'below/file', 'to file', 'to folder/file'}
    assert 'skipped: below/up: a link to a folder it is in' in said.splitlines()
    for name, target in [('out', outside), ('out to file', outside / 'file'), ('to nothing', 'nothing'), ('to itself', 'to itself')]:
        (scene.folder / name).symlink_to(target)
    said = scene.upload('--links', 'follow', status=1)
    assert scene.names() == {'below/file', 'to file', 'to folder/file'} and scene.status() == 'OPEN'
    assert {'not read: out: the link leads out of the folder', 'not read: out to file: the link leads out of the folder',
            'not read: to nothing: No such file or directory', 'not read: to itself: Too many levels of symbolic links'} <= set(said.splitlines())
    scene.db.execute('SELECT session_files.register_files(%s, %s)', [scene.session, ['out/file', 'out to file']])
    scene.db.execute('SELECT session_files.close_session(%s)', [scene.session])
    result = scene.start_worker('w', '--until-done', '--links', 'follow').end()
    assert result.status == 1
    assert scene.statuses() == {'below/file': 'FINISHED', 'to file': 'FINISHED', 'to folder/file': 'FINISHED',
                                'out/file': 'INGESTING_FILE_FAILED', 'out to file': 'INGESTING_FILE_FAILED'}
    assert scene.error_of('out/file') == 'the link leads out of the folder'


def test_special_files_are_skipped(scene, monkeypatch):
    scene.make_files(1)
    os.mkfifo(scene.folder / 'pipe')
    monkeypatch.chdir(scene.folder)    # the path of a socket is short
    socket.socket(socket.AF_UNIX).bind('socket')
    assert set(scene.upload().splitlines()[:2]) == {'skipped: pipe: a pipe', 'skipped: socket: a socket'}
    assert scene.names() == {'file 0'} and scene.status() == 'CLOSED'


class Files:
    """The walk of a folder in which the system's calls fail."""

    def __init__(self, folder, **options):
        self.said = []
        self.walk = folder_module.Walk(folder, say=self.said.append, **options)
        self.names = sorted(self.walk)


def fail_for(monkeypatch, name, error):
    scandir = os.scandir

    def fail(path):
        if os.path.basename(path) == name:
            raise error
        return scandir(path)
    monkeypatch.setattr(os, 'scandir', fail)


def test_folders_that_cannot_be_read(tmp_path, monkeypatch):
    for name in ['closed', 'open']:
        (tmp_path / name).mkdir()
        (tmp_path / name / 'file').touch()
    fail_for(monkeypatch, b'closed', PermissionError(13, 'Permission denied'))
    files = Files(tmp_path)
    assert (files.names, files.said, files.walk.counts['not read']) == (['open/file'], ['not read: closed: Permission denied'], 1)


def test_what_vanishes_in_the_walk_is_no_error(tmp_path, monkeypatch):
    (tmp_path / 'gone').mkdir()
    (tmp_path / 'file').touch()
    fail_for(monkeypatch, b'gone', FileNotFoundError(2, 'No such file or directory'))
    files = Files(tmp_path)
    assert (files.names, files.said, files.walk.counts['not read']) == (['file'], [], 0)


def test_folder_that_is_not_there(tmp_path):
    files = Files(tmp_path / 'nothing')
    assert (files.said, files.walk.counts['not read']) == (['not read: .: No such file or directory'], 1)


def test_few_lines_and_a_count(scene):
    for number in range(130):
        (scene.folder / str(number)).symlink_to('nothing')
    lines = scene.upload('--links', 'follow', status=1).splitlines()
    assert len(lines) == 102
    assert lines[100:] == ['130 not read (the first 100 are above)', 'the session is still open']


@pytest.fixture
def closed_folder(scene):
    """A folder that the plain user of the programs may not read; root may."""
    (scene.folder / 'closed').mkdir()
    (scene.folder / 'closed' / 'file').touch()
    (scene.folder / 'closed').chmod(0)
    yield scene.folder / 'closed'
    (scene.folder / 'closed').chmod(0o700)


@pytest.mark.skipif(os.geteuid() == 0, reason='root may read all')
def test_session_stays_open_if_not_all_was_read(scene, closed_folder):
    scene.make_files(2)
    said = scene.upload(status=1)
    assert said.splitlines() == ['not read: closed: Permission denied', '1 not read', 'the session is still open']
    assert (scene.status(), scene.count('PENDING')) == ('OPEN', 2)
    closed_folder.chmod(0o700)
    assert scene.upload() == ''
    assert (scene.status(), scene.count('PENDING')) == ('CLOSED', 3)


def test_what_does_not_pass_ends_with_a_line(scene):
    scene.make_files(1)

    def said(session=None, *options):
        result = scene.start_upload(*options, session=session).end()
        assert result.status == 2 and len(result.stderr.splitlines()) == 1, result.stderr
        return result.stderr
    assert 'there is no session' in said(UNKNOWN)
    assert 'invalid UUID' in said('x')
    assert 'invalid choice' in said(None, '--links', 'perhaps')
    expire = "UPDATE session_files.upload_sessions SET created_at = now() - interval '2 hours', expires_at = now() WHERE session_id = %s"
    scene.roles = {**scene.roles, 'uploader': scene.roles['worker']}
    assert 'needs a grant as' in said()
    scene.roles = {**scene.roles, 'uploader': scene.value('SELECT current_user')}
    scene.db.execute(expire, [scene.session])
    assert 'expired at' in said()
    scene.db.execute("UPDATE session_files.upload_sessions SET expires_at = now() + interval '1 day', status = 'CLOSED' WHERE session_id = %s", [scene.session])
    assert 'is CLOSED' in said()


def test_no_server(scene, monkeypatch):
    monkeypatch.setenv('PGHOST', str(scene.folder))
    result = scene.start_upload('--patience', 0.5).end()
    assert result.status == 2 and 'Traceback' not in result.stderr
    lines = result.stderr.splitlines()
    assert all('trying again in' in line for line in lines[:-1]) and 'is the server running' in lines[-1].lower(), lines


def test_database_that_is_not_there_is_not_tried_again(scene, monkeypatch):
    monkeypatch.setenv('PGDATABASE', 'of no one')
    result = scene.start_upload().end()
    assert result.status == 2 and len(result.stderr.splitlines()) == 1 and 'does not exist' in result.stderr


def test_goes_on_when_its_connection_is_cut(scene):
    scene.make_files(3000)
    with psycopg.connect() as other:
        # A batch waits, and its connection is cut.
        other.execute('SELECT FROM session_files.upload_sessions WHERE session_id = %s FOR UPDATE', [scene.session])
        upload = scene.start_upload()
        find = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'upload.py' AND wait_event_type = 'Lock'"
        wait_until(lambda: scene.db.execute(find).fetchall())
        wait_until(lambda: scene.db.execute(find.replace('pg_terminate_backend(pid)', 'pid')).fetchall())
    result = upload.end()
    assert result.status == 0 and 'trying again in' in result.stderr and 'Traceback' not in result.stderr, result.stderr
    assert (scene.status(), scene.count('PENDING')) == ('CLOSED', 3000)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_with_a_line(scene, number):
    scene.make_files(10)
    with psycopg.connect() as other:
        other.execute('SELECT FROM session_files.upload_sessions WHERE session_id = %s FOR UPDATE', [scene.session])
        upload = scene.start_upload()
        wait_until(lambda: scene.db.execute("SELECT FROM pg_stat_activity WHERE application_name = 'upload.py' AND wait_event_type = 'Lock'").fetchall())
        upload.signal(number)
        result = upload.end()
    assert (result.status, result.stderr) == (1, 'stopped: 0 files registered; the session is still open\n')


def test_names_whatever_the_locale_says(scene, monkeypatch):
    (scene.folder / '☂').symlink_to('nothing')
    monkeypatch.setenv('PYTHONIOENCODING', 'latin-1:strict')
    assert scene.upload().splitlines()[0] == r'skipped: \u2602: a link'


def error_of(state):
    error = psycopg.errors.lookup(state)()
    error.sqlstate = state
    return error


def test_what_passes_by_itself():
    for state in ['40001', '40P01', '25006', '57P01', '57P03', '53300', '08006', '08P01']:
        assert passes(error_of(state)), state
    for state in ['P0002', '55000', '42501', '22023', '42883', '3F000']:
        assert not passes(error_of(state)), state
    assert passes(psycopg.OperationalError('connection to server on socket failed: Connection refused'))
    assert passes(psycopg.OperationalError('FATAL:  the database system is starting up'))
    assert not passes(psycopg.OperationalError('FATAL:  password authentication failed for user "x"'))
    assert not passes(psycopg.InterfaceError('x')) and not passes(ValueError('x'))
