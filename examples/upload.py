#!/usr/bin/python3
"""Registers every file of a folder in an upload session, and closes it: examples/upload.py [--keep-open] SESSION_ID FOLDER

The database is that of the environment (PGHOST, PGDATABASE, PGUSER, ...); the role needs a grant of the workspace as uploader.
A second run on an open session adds what is new. The files are judged by worker.py.
"""

import argparse
import itertools
import os
import uuid

import psycopg

from folder import find_files, name_of

BATCH = 1000


def register_folder(db, session, folder):
    """Registers the files of a folder, batch by batch; says and returns how many there are."""
    count = 0
    files = find_files(folder)
    while batch := list(itertools.islice(files, BATCH)):
        db.execute('SELECT FROM session_files.register_files(%s, %s)', [session, [name_of(path, folder) for path in batch]])
        count += len(batch)
        print(f'{count} files registered', flush=True)
    return count


def main():
    parser = argparse.ArgumentParser(description='Registers every file of a folder in an upload session, and closes it.')
    parser.add_argument('session', type=uuid.UUID)
    parser.add_argument('folder')
    parser.add_argument('--keep-open', action='store_true', help='leave the session open for more files')
    args = parser.parse_args()
    if not os.path.isdir(args.folder):
        parser.error(f'not a folder: {args.folder}')
    with psycopg.connect(autocommit=True) as db:
        if register_folder(db, args.session, args.folder) == 0:
            print('0 files registered')
        if not args.keep_open:
            db.execute('SELECT session_files.close_session(%s)', [args.session])


if __name__ == '__main__':
    main()
