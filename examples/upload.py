#!/usr/bin/python3
"""Registers every file of a folder in an upload session, and closes it: examples/upload.py [OPTION]... SESSION FOLDER

A second run on an open session adds what is new. The files are judged by worker.py. A file or folder that cannot be read is said, and the session is
left open, so that it can be registered later. Links are left out, or followed within the folder. The status is 0 if all was registered, 1 if not, 2 if
the program could not run.
"""

import signal

# Until client.on_signal is there for them.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})

import itertools
import sys
import uuid

import client
from folder import DEFAULT_EXCLUDES, MOST_LINES, Walk

BATCH = 1000
COUNTED = {'skipped': 'links and special files skipped', 'not read': 'not read'}


class Upload:
    def __init__(self, args):
        self.args = args
        self.progress = client.Progress('{n:,} files registered, {rate_noinv_fmt}')
        self.db = client.Database('upload.py', self.progress.say, args.patience)
        self.count = 0
        excludes = args.exclude + ([] if args.no_default_excludes else DEFAULT_EXCLUDES)
        self.walk = Walk(args.folder, excludes, args.links == 'follow', self.progress.say)

    def stop(self, number):
        print(f'stopped: {self.count} files registered; the session is still open', file=sys.stderr, flush=True)
        client.end(1)

    def run(self):
        """Registers batch by batch: of one that was sent twice, no file is there twice."""
        client.on_signal(self.stop)
        # Says at once whether the session takes files.
        self.register([])
        names = iter(self.walk)
        while batch := list(itertools.islice(names, BATCH)):
            self.register(batch)
            self.count += len(batch)
            self.progress.show(self.count)
        self.progress.end()
        self.say_counts()
        unread = self.walk.counts['not read']
        if not self.args.keep_open and not unread:
            self.db.execute('SELECT session_files.close_session(%s)', [self.args.session])
        print(f'{self.count} files registered')
        return 1 if unread else 0

    def register(self, names):
        self.db.execute('SELECT count(*) FROM session_files.register_files(%s, %s)', [self.args.session, names])

    def say_counts(self):
        for what, count in self.walk.counts.items():
            above = f' (the first {MOST_LINES} are above)' if count > MOST_LINES else ''
            print(f'{count} {COUNTED[what]}{above}', file=sys.stderr)
        if self.walk.counts['not read']:
            print('the session is still open', file=sys.stderr)


def parse_arguments():
    parser = client.Parser(
        usage='upload.py [OPTION]... SESSION FOLDER', description='Registers every file of a folder in an upload session, and closes it.',
        epilog='example: PGDATABASE=files upload.py --exclude "*.tmp" 01a20be0-… ~/inbox\n'
        'status: 0 all registered, 1 some could not be read, 2 could not run')
    option = parser.add_argument
    option('session', metavar='SESSION', type=uuid.UUID, help='id of an open session')
    option('folder', metavar='FOLDER', type=client.folder, help='where the files are')
    option('--exclude', metavar='PATTERN', action='append', default=[], help='leave out files and folders of that name')
    option('--no-default-excludes', action='store_true', help=f'take {", ".join(DEFAULT_EXCLUDES)}'.replace('%', '%%'))
    option('--links', choices=['refuse', 'follow'], default='refuse', metavar='refuse|follow', help='follow: those that stay within the folder')
    option('--keep-open', action='store_true', help='leave the session open for more files')
    option('--patience', type=client.seconds, default=60, metavar='SECONDS', help='to try again after what may pass (60)')
    return parser.parse_args()


def main():
    return Upload(parse_arguments()).run()


if __name__ == '__main__':
    client.run(main)
