"""What upload.py and worker.py have in common: the files of a folder, their names in a session, and whether a file is good.

A file's name is its path from the folder, in UTF-8; bytes that are not are shown as \\xff.
"""

import errno
import json
import os
import re
import stat
import sys


def find_files(folder):
    """Yields the path of each file below a folder, as bytes."""
    def report(error):
        print(f'not read: {error}', file=sys.stderr)

    for directory, _, names in os.walk(os.fsencode(folder), onerror=report):
        for name in names:
            path = os.path.join(directory, name)
            if may_be_file(path):
                yield path


def may_be_file(path):
    """Tells a file, or what cannot be told (it is gone, or closed to us), from pipes, sockets and devices."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return True


def name_of(path, folder):
    """Returns the name to register."""
    return os.path.relpath(path, os.fsencode(folder)).decode('utf-8', 'backslashreplace')


def path_of(name, folder):
    """Returns the path of a name, or None if it would lead out of the folder."""
    path = name.encode()
    if os.path.isabs(path) or b'..' in path.split(b'/'):
        return None
    path = os.path.join(os.fsencode(folder), path)
    if os.path.lexists(path):
        return path
    return re.sub(rb'\\x([89a-f][0-9a-f])', lambda escape: bytes.fromhex(escape[1].decode()), path)


def judge(name, folder):
    """Returns why the file with a name fails, or None."""
    path = path_of(name, folder)
    if path is None:
        return 'FILE_NOT_FOUND'
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return 'FILE_NOT_FOUND'
    except OSError:
        return 'INGESTING_FILE_FAILED'
    if not stat.S_ISREG(status.st_mode):
        return 'FILE_NOT_FOUND'
    return judge_meta(path + b'.meta.json') if status.st_size > 0 else 'EMPTY_FILE'


def judge_meta(path):
    """Returns what is wrong with the description beside a file, or None. There need not be one."""
    try:
        # A pipe would keep us waiting for a writer.
        with open(path, 'rb', opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as meta:
            json.load(meta)
    except OSError as error:
        return None if error.errno in (errno.ENOENT, errno.ENAMETOOLONG) else 'INGESTING_FILE_FAILED'
    except (ValueError, RecursionError):
        return 'FAILED_TO_PARSE_META'
    return None
