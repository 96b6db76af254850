"""examples/upload.py and examples/worker.py at work, on real files and with a real server."""

import fcntl
import os
import re
import signal
import struct
import subprocess
import termios

import psycopg

from conftest import EXAMPLES, Program, wait_until

# For tests in which only a notification may wake a worker, and in which files are to be at work forever.
NEVER = 1000000


def test_outcomes(scene):
    folder = scene.folder
    for name in ['good', 'described', 'not described well', 'described by a list', 'described too well', 'described by a folder', 'described by a link',
                 'vanished', 'became a folder', 'became a link', r'C:\x86\xff', '☂']:
        (folder / name).write_text('good')
    (folder / 'below').mkdir()
    (folder / 'below' / 'good').write_text('good')
    (folder / 'empty').touch()
    (folder / 'described.meta.json').write_text('{"good": true}')
    (folder / 'not described well.meta.json').write_text('{')
    (folder / 'described by a list.meta.json').write_text('[]')
    (folder / 'described too well.meta.json').write_text('{}'.ljust((1 << 20) + 1))
    (folder / 'described by a folder.meta.json').mkdir()
    (folder / 'described by a link.meta.json').symlink_to('/dev/zero')
    (folder / os.fsdecode(b'not UTF-8: \xe9')).write_text('good')
    (folder / r'not UTF-8: \xe9').touch()
    scene.upload('--keep-open')
    (folder.parent / 'outside').write_text('good')
    scene.db.execute('SELECT session_files.register_files(%s, %s)', [scene.session, ['../outside', str(folder / 'good'), 'below/../good']])
    scene.upload()
    for name in ['vanished', 'became a folder', 'became a link']:
        (folder / name).unlink()
    (folder / 'became a folder').mkdir()
    (folder / 'became a link').symlink_to('good')

    result = scene.start_worker('w', '--until-done').end()
    expected = {
        'good': 'FINISHED', 'described': 'FINISHED', 'described.meta.json': 'FINISHED', 'not described well.meta.json': 'FINISHED',
        'described by a list.meta.json': 'FINISHED', 'described too well.meta.json': 'FINISHED',
        'not described well': 'FAILED_TO_PARSE_META', 'described by a list': 'FAILED_TO_PARSE_META', 'described too well': 'FAILED_TO_PARSE_META',
        'described by a folder': 'FAILED_TO_PARSE_META', 'described by a link': 'FAILED_TO_PARSE_META',
        'empty': 'EMPTY_FILE', 'vanished': 'FILE_NOT_FOUND', 'became a folder': 'FILE_NOT_FOUND', 'became a link': 'FILE_NOT_FOUND',
        '../outside': 'FILE_NOT_FOUND', str(folder / 'good'): 'FILE_NOT_FOUND', 'below/../good': 'FILE_NOT_FOUND',
        'below/good': 'FINISHED', '☂': 'FINISHED', r'C:\\x86\\xff': 'FINISHED', r'not UTF-8: \xe9': 'FINISHED', r'not UTF-8: \\xe9': 'EMPTY_FILE',
    }
    assert scene.statuses() == expected
    finished = list(expected.values()).count('FINISHED')
    failed = len(expected) - finished
    assert result.status == 1, result.stderr
    assert result.counts == {'finished': finished, 'failed': failed, 'delayed': 0, 'released': 0, 'lost': 0}
    assert 'more than 1048576 bytes' in scene.error_of('described too well')
    lines = result.stderr.splitlines()
    assert lines[-12] == f'{failed} of {len(expected)} files failed:' and lines[-1] == f'  and {failed - 10} more'
    assert '  empty: EMPTY_FILE' in lines and '  described by a list: FAILED_TO_PARSE_META (it is no object)' in lines


def test_two_workers_tell_each_file_once(scene):
    scene.make_files(400)
    workers = {name: scene.start_worker(name, '--until-done', '--delay', 0.01, '--threads', 2, '--in-flight', 40, '--batch', 20)
               for name in 'ab'}
    for name in workers:
        wait_until(lambda: scene.find_backend(name))
    scene.upload()
    a, b = (worker.end() for worker in workers.values())
    assert (a.status, b.status) == (0, 0), (a.stderr, b.stderr)
    assert a.counts['finished'] > 0 and b.counts['finished'] > 0
    assert a.counts['finished'] + b.counts['finished'] == scene.count('FINISHED') == 400
    assert (a.counts['lost'], b.counts['lost']) == (0, 0)


def test_sigterm_ends_what_is_at_work_and_releases_the_rest(scene):
    scene.make_files(60)
    scene.upload()
    worker = scene.start_worker('a', '--threads', 2, '--in-flight', 40, '--batch', 20, '--delay', 0.5, '--lease', NEVER)
    wait_until(lambda: scene.count('FINISHED') > 0)
    worker.signal(signal.SIGTERM)
    result = worker.end()
    assert result.status == 0, result.stderr
    assert result.counts['released'] > 0
    assert result.counts['finished'] == scene.count('FINISHED') > 0
    assert scene.held_by('a') == 0
    # As if they had never been claimed.
    assert scene.value('SELECT max(attempt) FROM session_files.file_queue WHERE session_id = %s', scene.session) == 0

    second = scene.start_worker('b', '--until-done').end()
    assert second.status == 0, second.stderr
    assert second.counts['finished'] == 60 - result.counts['finished']
    assert scene.count('FINISHED') == 60


def test_signal_releases_what_takes_too_long(scene):
    scene.make_files(10)
    scene.upload()
    worker = scene.start_worker('w', '--threads', 2, '--delay', NEVER, '--lease', NEVER)
    wait_until(lambda: scene.held_by('w') == 10)
    worker.signal(signal.SIGINT)
    result = worker.end()
    assert (result.status, result.counts['released'], scene.held_by('w')) == (0, 10, 0), result.stderr
    assert result.stderr.splitlines() == [f'{scene.full_name("w")}: stopping by SIGINT']


def test_second_signal_ends_at_once(scene):
    scene.make_files(10)
    scene.upload()
    worker = scene.start_worker('w', '--threads', 2, '--delay', NEVER, '--grace', NEVER)
    wait_until(lambda: scene.held_by('w') == 10)
    worker.signal(signal.SIGINT)
    wait_until(lambda: scene.held_by('w') == 2)
    worker.signal(signal.SIGTERM)
    result = worker.end()
    assert result.status == 0
    assert result.stderr.splitlines()[-1] == f'{scene.full_name("w")}: 2 files stay claimed until their lease ends'


def test_signal_is_heard_while_the_server_is_silent(scene):
    scene.make_files(10)
    scene.upload()
    worker = scene.start_worker('w', '--threads', 2, '--delay', 0.1, '--until-done')
    wait_until(lambda: scene.held_by('w') == 10)
    with psycopg.connect() as other:
        # Its next report waits.
        other.execute('LOCK TABLE session_files.file_queue')
        worker.signal(signal.SIGTERM)
        result = worker.end()
    assert result.status == 1
    assert 'files stay claimed until their lease ends' in result.stderr and 'Traceback' not in result.stderr


def test_files_of_a_killed_worker_are_done_by_another(scene):
    scene.make_files(30)
    scene.upload()
    worker = scene.start_worker('a', '--in-flight', 20, '--batch', 10, '--delay', NEVER, '--lease', 1)
    wait_until(lambda: scene.held_by('a') == 20)
    worker.signal(signal.SIGKILL)
    assert worker.end().status == -signal.SIGKILL
    result = scene.start_worker('b', '--until-done', '--poll', 0.1).end()
    assert result.status == 0, result.stderr
    assert result.counts['finished'] == scene.count('FINISHED') == 30


def test_leases_are_extended(scene):
    scene.make_files(5)
    scene.upload()
    scene.start_worker('w', '--delay', NEVER, '--lease', 2)
    wait_until(lambda: scene.held_by('w') == 5)

    def is_extended():
        files, claimed_at, expires_at = scene.lease_of('w')
        return files == 5 and (expires_at - claimed_at).total_seconds() > 5
    wait_until(is_extended)


def test_files_that_another_took_over_are_lost(scene):
    scene.make_files(10)
    scene.upload()
    worker = scene.start_worker('a', '--until-done', '--threads', 2, '--delay', 3, '--lease', 4)
    wait_until(lambda: scene.held_by('a') == 10)
    worker.signal(signal.SIGSTOP)
    scene.db.execute('UPDATE session_files.file_queue SET due_at = now() WHERE session_id = %s', [scene.session])
    # Of a lease that was lost, each claim has at most half.
    rows = []
    while claimed := scene.db.execute('SELECT file_ingestion_id, lease_token FROM session_files.claim_files(%s, 100, session_id => %s)',
                                      ['rival', scene.session]).fetchall():
        rows += claimed
    assert len(rows) == scene.count('PENDING') > 0
    worker.signal(signal.SIGCONT)
    # When half its lease is over, it learns what it has lost; some are at work then, and told in vain.
    half_over_at = scene.value("SELECT clock_timestamp() + interval '2 seconds'")
    wait_until(lambda: scene.find_backend('a', since=half_over_at))
    for file_id, token in rows:
        scene.db.execute('SELECT session_files.finish_files(%s, %s, %s)', [scene.session, [file_id], token])
    result = worker.end()
    assert result.status == 0, result.stderr
    assert (result.counts['finished'], result.counts['lost']) == (10 - len(rows), len(rows))


def test_goes_on_when_its_connection_is_cut(scene):
    scene.make_files(200)
    worker = scene.start_worker('w', '--until-done', '--threads', 2, '--in-flight', 40, '--batch', 20, '--delay', 0.02)
    cut = [wait_until(lambda: scene.find_backend('w'))]
    assert scene.value('SELECT pg_terminate_backend(%s)', cut[0])
    scene.upload()
    for finished in (20, 60, 100):
        wait_until(lambda: scene.count('FINISHED') >= finished)
        cut += [pid for pid, _ in scene.db.execute(
            'SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s', [scene.full_name('w')]).fetchall()]
    result = worker.end()
    assert result.status == 0, result.stderr
    assert len(set(cut)) > 1
    assert scene.count('FINISHED') == 200
    # Nothing was left to a lease's end.
    assert scene.value('SELECT count(*) FROM session_files.file_queue WHERE session_id = %s', scene.session) == 0


def test_sigterm_is_heard_without_a_connection(scene):
    scene.make_files(20)
    scene.upload()
    worker = scene.start_worker('w', '--threads', 2, '--delay', 0.5)
    wait_until(lambda: scene.held_by('w') == 20)
    worker.signal(signal.SIGSTOP)
    scene.value('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s', scene.full_name('w'))
    worker.signal(signal.SIGTERM)
    worker.signal(signal.SIGCONT)
    result = worker.end()
    assert result.status == 0, result.stderr
    assert result.counts['finished'] + result.counts['released'] == 20
    assert scene.held_by('w') == 0


def test_notification_wakes_an_idle_worker(scene):
    worker = scene.start_worker('w', '--poll', NEVER, session=False)
    wait_until(lambda: scene.find_backend('w'))
    scene.make_files(10)
    scene.upload()
    wait_until(lambda: scene.count('FINISHED') == 10)
    worker.signal(signal.SIGTERM)
    assert worker.end().status == 0


def test_notification_tells_the_end_of_the_session(scene):
    scene.make_files(2)
    worker = scene.start_worker('w', '--poll', NEVER, '--until-done')
    wait_until(lambda: scene.find_backend('w'))
    uploaded_at = scene.value('SELECT clock_timestamp()')
    scene.upload('--keep-open')
    wait_until(lambda: scene.count('FINISHED') == 2)
    # It looks once more after the work, and then no more.
    wait_until(lambda: scene.find_backend('w', 'session_progress', uploaded_at))
    scene.db.execute('SELECT session_files.close_session(%s)', [scene.session])
    result = worker.end()
    assert result.status == 0, result.stderr


def test_until_done_ends_at_once_when_all_is_done(scene):
    scene.upload()
    result = scene.start_worker('w', '--poll', NEVER, '--until-done').end()
    assert result.status == 0, result.stderr


EXPIRE = "UPDATE session_files.upload_sessions SET created_at = now() - interval '2 hours', expires_at = now() WHERE session_id = %s"


def test_session_that_has_expired(scene):
    scene.make_files(3)
    scene.upload('--keep-open')
    scene.db.execute(EXPIRE, [scene.session])
    result = scene.start_worker('w', '--until-done').end()
    assert result.status == 1, result.stderr
    assert 'the session has expired: no worker gets its 3 PENDING files' in result.stderr
    assert scene.count('PENDING') == 3


def test_files_that_are_held_when_the_session_expires_are_finished(scene):
    scene.make_files(4)
    scene.upload('--keep-open')
    worker = scene.start_worker('w', '--until-done', '--delay', 2)
    wait_until(lambda: scene.held_by('w') == 4)
    scene.db.execute(EXPIRE, [scene.session])
    result = worker.end()
    assert result.status == 0, result.stderr
    assert scene.count('FINISHED') == 4


def test_files_delayed_are_tried_again(scene):
    (scene.folder / 'late').touch()
    scene.upload()
    database = scene.value('SELECT quote_ident(current_database())')
    scene.db.execute(f"ALTER DATABASE {database} SET session_files.retry_reasons = 'EMPTY_FILE'")
    try:
        worker = scene.start_worker('w', '--until-done', '--poll', 0.1)
        wait_until(lambda: scene.value('SELECT max(attempt) FROM session_files.file_queue WHERE session_id = %s', scene.session))
        wait_until(lambda: scene.held_by('w') == 0)
        (scene.folder / 'late').write_text('good')
        result = worker.end()
    finally:
        scene.db.execute(f'ALTER DATABASE {database} RESET session_files.retry_reasons')
    assert result.status == 0, result.stderr
    assert scene.statuses() == {'late': 'FINISHED'}
    assert result.counts['delayed'] > 0 and result.counts['finished'] == 1


def test_files_deleted_meanwhile_do_not_hold_up_the_others(scene):
    scene.make_files(6)
    scene.upload()
    worker = scene.start_worker('w', '--until-done', '--delay', 4)
    wait_until(lambda: scene.held_by('w') == 6)
    worker.signal(signal.SIGSTOP)
    scene.db.execute("DELETE FROM session_files.files WHERE session_id = %s AND name IN ('file 1', 'file 4')", [scene.session])
    worker.signal(signal.SIGCONT)
    result = worker.end()
    assert result.status == 0, result.stderr
    assert (result.counts['finished'], result.counts['lost'], scene.count('FINISHED')) == (4, 2, 4)


def test_session_that_expires_while_a_worker_waits(scene):
    scene.make_files(3)
    scene.upload('--keep-open')
    worker = scene.start_worker('w', '--until-done', '--poll', 0.1)
    wait_until(lambda: scene.count('FINISHED') == 3)
    scene.db.execute("INSERT INTO session_files.files (session_id, name) SELECT %s, 'late ' || n FROM generate_series(1, 5) n", [scene.session])
    scene.db.execute(EXPIRE, [scene.session])
    assert worker.end().status == scene.count('FAILED') + (scene.count('PENDING') > 0)


def test_name_that_the_workspace_has_counts_as_failed(scene):
    scene.make_files(2)
    scene.upload()
    assert scene.start_worker('w', '--until-done').end().status == 0
    scene.session = scene.value("SELECT session_files.create_session(%s, 'FAIL')", scene.workspace)
    scene.make_files(3)
    scene.upload()
    result = scene.start_worker('w', '--until-done').end()
    assert (result.status, result.counts['finished'], result.counts['failed']) == (1, 1, 2), result.stderr
    assert '  file 1: FILE_ALREADY_EXISTS' in result.stderr.splitlines()


def test_what_does_not_pass_ends_with_a_line(scene):
    for arguments, line in [
        (['--session', '00000000-0000-7000-8000-000000000000'], 'there is no session'),
        (['--workspace', 'of no one'], 'there is no workspace'),
        (['--workspace', b'\xff'], 'surrogates not allowed'),
        (['--session', 'x'], 'invalid UUID'), (['--threads', '0'], 'not within 1 and 100000'), (['--until-done'], '--until-done needs --session'),
    ]:
        worker = Program(scene.roles['worker'], 'worker.py', scene.folder, *[a if isinstance(a, str) else os.fsdecode(a) for a in arguments])
        scene.programs.append(worker)
        result = worker.end()
        assert result.status == 2 and line in result.stderr and len(result.stderr.splitlines()) == 1, result.stderr


def test_worker_of_another_kind(scene):
    scene.roles = {**scene.roles, 'worker': scene.roles['uploader']}
    result = scene.start_worker('w').end()
    assert result.status == 2 and 'needs a grant as' in result.stderr and len(result.stderr.splitlines()) == 1, result.stderr


def read_terminal(scene, columns, *options):
    """Gives what a worker shows on a terminal."""
    terminal, stderr = os.openpty()
    fcntl.ioctl(stderr, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
    worker = scene.start_worker('w', '--until-done', *options, stderr=stderr)
    os.close(stderr)
    shown = b''
    # Linux ends a terminal with an error.
    try:
        while piece := os.read(terminal, 4096):
            shown += piece
    except OSError:
        pass
    os.close(terminal)
    return worker.end(), shown.decode()


def test_bar_fits_the_terminal(scene):
    scene.make_files(20)
    (scene.folder / 'empty').touch()
    scene.upload()
    for columns in (60, 20):
        result, shown = read_terminal(scene, columns)
        assert result.status == 1
        bars = [bar.strip('\n') for bar in re.split('[\r]+', re.sub('\x1b\\[A', '', shown.partition('1 of 21')[0])) if bar.strip()]
        assert bars and all(len(bar) <= columns for bar in bars), bars
    assert '21/21 files' in shown


def test_progress_on_a_terminal(scene):
    scene.make_files(20)
    (scene.folder / 'empty').touch()
    scene.upload()
    _, shown = read_terminal(scene, 120, '--delay', 0.5, '--threads', 2)
    assert re.search(r'\d+/21 files, +[\d.]+ files/s, \d\d:\d\d left, 1 EMPTY_FILE \|.*\|', shown), shown
    assert '1 of 21 files failed:\r\n  empty: EMPTY_FILE\r\n' in shown


def test_lines_without_a_terminal(scene):
    scene.make_files(20)
    scene.upload()
    result = scene.start_worker('w', '--until-done').end()
    assert result.status == 0
    assert result.stderr.splitlines()[-1].startswith('20/20 files, ') and '\r' not in result.stderr


def test_help_fits_a_screen():
    for program in ('upload.py', 'worker.py'):
        lines = subprocess.run([EXAMPLES / program, '--help'], capture_output=True, text=True, check=True).stdout.splitlines()
        assert len(lines) <= 24 and max(map(len, lines)) <= 80 and any(line.startswith('example: ') for line in lines), lines
