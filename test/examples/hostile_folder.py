"""Makes a folder of what no one expects in one, and says what becomes of each file: test/examples/hostile_folder.py FOLDER

`CASES` is the truth: by the name that upload.py registers, where the file is, how it is made, and how it ends, for a plain user and for root.
The names are written out here, not taken from the examples.
"""

import collections
import contextlib
import functools
import os
import stat
import sys

GOOD = 'FINISHED'
EMPTY = 'EMPTY_FILE'
MISSING = 'FILE_NOT_FOUND'
UNOPENED = 'INGESTING_FILE_FAILED'
META = 'FAILED_TO_PARSE_META'
LONG = 'FILE NAME TOO LONG. MAX LENGTH IS 800'
# Those that are not registered: without a word, or with a line that has the name.
EXCLUDED = 'excluded'
SAID = 'said'

SMALL_FILES = 10000
PERISHING = 20    # of each kind that changes while the programs run
MEBIBYTE = 1 << 20
TEBIBYTE = 1 << 40

Case = collections.namedtuple('Case', 'path make plain root')


def write(path, content=b'good'):
    with open(path, 'wb') as file:
        file.write(content)


def write_sparse(path):
    write(path)
    os.truncate(path, TEBIBYTE)


def write_closed(path):
    write(path)
    os.chmod(path, 0)


def make_socket(path):
    os.mknod(path, stat.S_IFSOCK | 0o600)


def link_to(target):
    return functools.partial(os.symlink, target)


def containing(content):
    return functools.partial(write, content=content)


def spread(character, count):
    """Gives a path of so many characters: folders of at most 60 of them, and a file."""
    pieces = []
    while count > 61:
        pieces.append(character * 60)
        count -= 61
    return '/'.join([*pieces, character * count])


CASES = {}


def add(name, outcome=GOOD, make=write, path=None, plain=None):
    assert name not in CASES, name
    CASES[name] = Case(os.fsencode(name) if path is None else path, make, outcome if plain is None else plain, outcome)


def add_described(name, outcome, make, described=GOOD, plain=None, plain_described=None):
    """Adds a file and its description, with the outcome of each."""
    add(name, outcome, plain=plain)
    add(name + '.meta.json', described, make, plain=plain_described)


# Names.
for name in ['good', 'ÿ', 'é', 'e\u0301', '☂ 🎉', '\u202egnp.exe', 'a\nb', 'tab\t', '\x01\x1b[31m', '-rf', ' ', ' both ', '...', '.hidden', '~', '%s%n{0}',
             "';--", '"', '$(id)', '*', 'C:', 'NUL', 'x' * 255, 'below/good', 'below/.../good']:
    add(name)
# A byte, four characters that read the same, and both in one name: which is which shows in how it ends.
add(r'\xe9', EMPTY, containing(b''), path=b'\xe9')
add(r'\\xe9', GOOD, path=rb'\xe9')
add(r'\xe9\\xe9', EMPTY, containing(b''), path=b'\xe9' + rb'\xe9')
add(r'\\xe9\xe9', GOOD, path=rb'\xe9' + b'\xe9')
add(r'\\\xe9', EMPTY, containing(b''), path=b'\\\xe9')
add(r'\\\\xe9', GOOD, path=rb'\\xe9')
add(r'\\', path=b'\\')
add(r'C:\\x86\\xff', path=rb'C:\x86\xff')
add(r'\xed\xa0\x80 surrogate', path=b'\xed\xa0\x80 surrogate')
add(r'\xc0\xaf overlong', path=b'\xc0\xaf overlong')
add(r'\xf4\x90\x80\x80 beyond', path=b'\xf4\x90\x80\x80 beyond')
add(r'fold\xe9r/f\xeele', path=b'fold\xe9r/f\xeele')
add(r'fold\xe9r/f\xeele.meta.json', GOOD, containing(b'{}'), path=b'fold\xe9r/f\xeele.meta.json')
add(r'fold\\xe9r/f\xeele', EMPTY, containing(b''), path=rb'fold\xe9r/f' + b'\xeele')
# Long ones: 800 characters are allowed, of one byte or four. Escaped, a byte takes four.
for character in ('n', '🎉'):
    add(spread(character, 800))
    add(spread(character, 801), LONG)
    add(spread(character, 830), LONG)
add(spread('o', 900), LONG)
add(r'\xe9' * 200, path=b'\xe9' * 200)
add(r'\xe9' * 201, LONG, path=b'\xe9' * 201)
add(spread('🎉', 900), SAID)

# Files.
add('empty', EMPTY, containing(b''))
add('sparse', GOOD, write_sparse)
add('closed', GOOD, write_closed, plain=UNOPENED)
add(r"closed ☂ \xe9", GOOD, write_closed, plain=UNOPENED, path="closed ☂ ".encode() + b"\xe9")
add('no list/file', GOOD, plain=EXCLUDED)
add('no search/file', GOOD, plain={SAID, UNOPENED})
add('no nothing/below/file', GOOD, plain=EXCLUDED)
CLOSED_FOLDERS = {'no list': 0o300, 'no search': 0o600, 'no nothing': 0}

# Descriptions.
add_described('d good', GOOD, containing(b'{"good": [1, null, "\\u2602"]}'))
add_described('d mark', GOOD, containing(b'\xef\xbb\xbf{}'))
add_described('d of 1 MiB', GOOD, containing(b'{}'.ljust(MEBIBYTE)))
add_described('d of more', META, containing(b'{}'.ljust(MEBIBYTE + 1)))
add_described('d cut', META, containing(b'{'))
add_described('d empty', META, containing(b''), EMPTY)
add_described('d list', META, containing(b'[1]'))
add_described('d null', META, containing(b'null'))
add_described('d bytes', META, containing(b'{"a": "\xe9"}'))
add_described('d deep', META, containing(b'[' * 100000))
add_described('d deeper', META, containing(b'{"a":' * 100000))
add_described('d sparse', META, write_sparse)
add_described('d closed', GOOD, containing(b'{}'), plain=UNOPENED, plain_described=UNOPENED)
add_described('d folder', META, os.mkdir, EXCLUDED)
add_described('d pipe', META, os.mkfifo, SAID)
add_described('d socket', META, make_socket, SAID)
add_described('d zero', META, link_to('/dev/zero'), SAID)
add_described('d loop', META, link_to('d loop.meta.json'), SAID)
add_described('d outside', META, link_to('/etc/hostname'), SAID)
add_described('x' * 246, GOOD, lambda path: None, EXCLUDED)    # No name could have more characters.

# What is no file.
add('pipe', SAID, os.mkfifo)
add('socket', SAID, make_socket)
# Only root can make a device, but any user can mount some in a namespace of theirs. The directory goes on to call the first one a file.
add('device', MISSING)
add('devices/ptmx', SAID, lambda path: None)
MOUNT_DEVICES = 'mount --bind /dev/zero "$0/device" && mount -t devpts none "$0/devices"'
add('link to file', SAID, link_to('good'))
add('link to folder', SAID, link_to('below'))
add('link to itself', SAID, link_to('link to itself'))
add('below/link up', SAID, link_to('..'))
add('link to nothing', SAID, link_to('nothing'))
add('link out', SAID, link_to('/etc/hostname'))
add('link out/hostname', EXCLUDED, lambda path: None)
add('link to folder outside', SAID, link_to('/etc'))
for name in ['.DS_Store', '~$report.docx', 'Thumbs.db', 'desktop.ini']:
    add(name, EXCLUDED)
    add('below/' + name, EXCLUDED)
# What reads much the same is a file like any other.
for name in ['DS_Store', '~report.docx', 'Thumbs.db.bak', 'my desktop.ini']:
    add(name)

# What changes (`Changes`): it may be this or that when a program comes by.
for number in range(PERISHING):
    add(f'vanishing/{number}', {GOOD, MISSING, SAID, EXCLUDED})
    add(f'growing/{number}', {GOOD, EMPTY}, containing(b''))
    add(f'turning/{number}', {GOOD, MISSING, UNOPENED, SAID, EXCLUDED})
add_described('growing/described', {GOOD, META}, containing(b'{}'))

# One of many names, for then they are made and removed in a moment.
add('small/first')
for number in range(SMALL_FILES):
    add(f'small/{number // 500}/{number}', make=lambda path: os.link(os.path.join(os.path.dirname(path), b'../first'), path))


def make_too_deep(folder):
    """Makes a folder whose path is longer than the system takes: only step by step one comes there."""
    where = os.open(folder, os.O_RDONLY)
    for _ in range(20):
        os.mkdir('too deep' * 30, dir_fd=where)
        below = os.open('too deep' * 30, os.O_RDONLY, dir_fd=where)
        os.close(where)
        where = below
    os.close(os.open('file', os.O_CREAT, dir_fd=where))
    os.close(where)


def make(folder):
    root = os.fsencode(folder)
    # Those below a link are none of the folder.
    for directory in {os.path.dirname(case.path) for case in CASES.values()} - {b'link out'}:
        os.makedirs(os.path.join(root, directory), exist_ok=True)
    for case in CASES.values():
        case.make(os.path.join(root, case.path))
    make_too_deep(root)
    os.chmod(os.path.join(root, b'd closed.meta.json'), 0)
    for name, mode in CLOSED_FOLDERS.items():
        os.chmod(os.path.join(root, os.fsencode(name)), mode)


def open_folders(folder):
    """Lets the folder be removed by its owner."""
    for name in CLOSED_FOLDERS:
        os.chmod(os.path.join(folder, name), 0o700)


def change(folder, stop):
    """Has files vanish and come back, grow, and turn into pipes and links and back, until it is stopped."""
    for step in range(sys.maxsize):
        if stop.wait(0.02):
            return
        number = step % PERISHING
        # It may be gone since it was changed before.
        with contextlib.suppress(FileNotFoundError):
            [os.unlink, write][step // PERISHING % 2](f'{folder}/vanishing/{number}')
        for path in (f'{folder}/growing/{number}', f'{folder}/growing/described.meta.json'):
            if os.path.getsize(path) <= 2 * MEBIBYTE:
                with open(path, 'ab') as file:
                    file.write(b' ' * (MEBIBYTE // 16))
        turned = f'{folder}/turning/{number}'
        [os.mkfifo, link_to('/dev/zero'), write][step // PERISHING % 3](f'{turned}.new')
        os.replace(f'{turned}.new', turned)


if __name__ == '__main__':
    make(sys.argv[1])
