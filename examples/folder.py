r"""The files of a folder: their names in a session, the walk that finds them, and whether one is good.

A file's name is its path below the folder, in UTF-8. Each backslash of the path becomes two, and each byte that is not UTF-8 becomes \xHH. So no two
files have one name, and a name leads back to its file.
"""

import collections
import errno
import fnmatch
import json
import os
import re
import stat
import threading

DEFAULT_EXCLUDES = ['.DS_Store', '~$*', 'Thumbs.db', 'desktop.ini']
START = 64 << 10      # bytes of a file that are read
META_LIMIT = 1 << 20  # bytes of a description
MOST_LINES = 100      # of what is skipped, and of what is not read
KINDS = {stat.S_IFIFO: 'a pipe', stat.S_IFSOCK: 'a socket', stat.S_IFCHR: 'a device', stat.S_IFBLK: 'a device'}
# What parsed JSON takes of memory is many times its size.
parsing = threading.Lock()


def name_of(path):
    """Returns the name of a path, which is bytes."""
    return path.replace(b'\\', b'\\\\').decode('utf-8', 'backslashreplace')


def path_of(name):
    """Returns the path of a name, or None if no file of a folder has that name."""
    path = re.sub(rb'\\(?:\\|x([0-9a-f]{2}))', lambda escape: bytes.fromhex(escape[1].decode()) if escape[1] else b'\\', name.encode())
    if name_of(path) != name or b'\0' in path or not {b'', b'.', b'..'}.isdisjoint(path.split(b'/')):
        return None
    return path


def shown(name):
    """Returns a name as it can be shown on a terminal."""
    return ''.join(character if character.isprintable() else character.encode('unicode_escape').decode() for character in name)


def check_length(name):
    """Returns a name that register_files does not refuse. One of more than 800 characters it takes, and the file is FAILED."""
    if len(name) > 830 and len(name.encode()) > 2600:
        raise OSError(errno.ENAMETOOLONG, 'the name has more than 830 characters and 2600 bytes')
    return name


class Leads(OSError):
    """A link that leads out of the folder."""

    def __init__(self):
        super().__init__(errno.EXDEV, 'the link leads out of the folder')


def resolve(root, path):
    """Returns the path without links of a path below a folder, which has none itself."""
    real = os.path.realpath(os.path.join(root, path), strict=True)
    if real != root and not real.startswith(os.path.join(root, b'')):
        raise Leads
    return os.path.relpath(real, root)


class Walk:
    """The way through a folder: yields the name of each file, and says what is left out."""

    def __init__(self, folder, excludes=(), follow=False, say=print):
        self.root = os.path.realpath(os.fsencode(folder))
        self.excludes = re.compile('|'.join(map(fnmatch.translate, excludes)) or r'(?!)')
        self.follow = follow
        self.say = say
        self.counts = collections.Counter()    # of what was skipped and not read

    def __iter__(self):
        # With the folders on the way to each, by which a loop of links is seen.
        folders = [(b'', ())]
        while folders:
            below, ways = folders.pop()
            way = os.path.join(self.root, below)
            try:
                status = os.stat(way)
                with os.scandir(way) as entries:
                    found = [entry for entry in entries if not self.excludes.match(os.fsdecode(entry.name))]
            except OSError as error:
                self.miss(below or b'.', error)
                continue
            ways = (*ways, (status.st_dev, status.st_ino))
            for entry in found:
                path = os.path.join(below, entry.name)
                try:
                    mode = self.mode_of(entry, path, ways)
                    if stat.S_ISDIR(mode):
                        folders.append((path, ways))
                    elif stat.S_ISREG(mode):
                        yield check_length(name_of(path))
                    elif mode:
                        self.leave_out('skipped', path, KINDS.get(stat.S_IFMT(mode), 'no file'))
                except OSError as error:
                    self.miss(path, error)

    def mode_of(self, entry, path, ways):
        """Returns the type of a directory's entry, or 0 if it is a link that is not followed."""
        if entry.is_dir(follow_symlinks=False):
            return stat.S_IFDIR
        # Most often the system has said so, and nothing is looked up.
        if entry.is_file(follow_symlinks=False):
            return stat.S_IFREG
        if not entry.is_symlink():
            return entry.stat(follow_symlinks=False).st_mode
        if not self.follow:
            self.leave_out('skipped', path, 'a link')
            return 0
        status = os.stat(os.path.join(self.root, resolve(self.root, path)))
        if (status.st_dev, status.st_ino) in ways:
            self.leave_out('skipped', path, 'a link to a folder it is in')
            return 0
        return status.st_mode

    def miss(self, path, error):
        # What is gone meanwhile is no loss. A link to nothing is there.
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)) or path == b'.' or os.path.islink(os.path.join(self.root, path)):
            self.leave_out('not read', path, error.strerror)

    def leave_out(self, what, path, why):
        self.counts[what] += 1
        if self.counts[what] <= MOST_LINES:
            self.say(f'{what}: {shown(name_of(path))}: {why}')


class Judge:
    """Says of the files of a folder whether they are good. Any number of threads may ask at once."""

    def __init__(self, folder, follow=False):
        self.root = os.path.realpath(os.fsencode(folder))
        self.directory = os.open(self.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.follow = follow

    def judge(self, name):
        """Returns why the file with a name fails, and an error's text; or None and None."""
        path = path_of(name)
        if path is None:
            return 'FILE_NOT_FOUND', 'no file of the folder can have this name'
        try:
            if not self.read(path, START):
                return 'EMPTY_FILE', None
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            return 'FILE_NOT_FOUND', error.strerror
        except OSError as error:
            return 'INGESTING_FILE_FAILED', error.strerror
        return self.judge_meta(path + b'.meta.json')

    def judge_meta(self, path):
        """Judges the description beside a file, of which there need be none."""
        try:
            # No link is followed here: it is no regular file.
            mode = os.lstat(os.path.join(self.root, path)).st_mode
            text = self.read(path, META_LIMIT + 1) if stat.S_ISREG(mode) else None
        except OSError as error:
            return (None, None) if error.errno in (errno.ENOENT, errno.ENAMETOOLONG) else ('INGESTING_FILE_FAILED', f'.meta.json: {error.strerror}')
        if text is None:
            return 'FAILED_TO_PARSE_META', 'it is no regular file'
        if len(text) > META_LIMIT:
            return 'FAILED_TO_PARSE_META', f'it has more than {META_LIMIT} bytes'
        try:
            with parsing:
                is_object = isinstance(json.loads(text), dict)
        except (ValueError, RecursionError) as error:
            return 'FAILED_TO_PARSE_META', str(error)
        return (None, None) if is_object else ('FAILED_TO_PARSE_META', 'it is no object')

    def read(self, path, limit):
        """Returns the first bytes of a regular file. Step by step from the folder, so that no link is followed but those that were resolved."""
        *folders, file = (resolve(self.root, path) if self.follow else path).split(b'/')
        directory = os.dup(self.directory)
        try:
            for folder in folders:
                below = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
                os.close(directory)
                directory = below
            # To open a device can have an effect. If it takes the file's place only now, no more than the limit is read, and nothing waits.
            if not stat.S_ISREG(os.stat(file, dir_fd=directory, follow_symlinks=False).st_mode):
                raise IsADirectoryError(errno.EISDIR, 'it is no regular file')
            with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory), 'rb', buffering=0) as opened:
                return read_up_to(opened, limit)
        finally:
            os.close(directory)


def read_up_to(file, limit):
    pieces = []
    while limit > 0 and (piece := file.read(limit)):
        pieces.append(piece)
        limit -= len(piece)
    return b''.join(pieces)
