#!/usr/bin/python3
"""Registers every file of a folder in an upload session, and judges each: examples/ingest.py SESSION_ID FOLDER

The database is that of the environment (PGHOST, PGDATABASE, PGUSER, ...); worker.sql beside this file says what the role needs.
A file's name is its path from the folder. Whoever runs it again goes on with what is still PENDING.
"""

import argparse
import collections
import errno
import itertools
import json
import os
import stat
import sys
import uuid

import psycopg

BATCH = 100


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
    """Returns the name to register: bytes that are not UTF-8 are shown as \\xff."""
    return os.path.relpath(path, os.fsencode(folder)).decode('utf-8', 'backslashreplace')


def judge(path):
    """Returns why a file fails, or None."""
    try:
        size = os.stat(path).st_size
    except (FileNotFoundError, NotADirectoryError):
        return 'FILE_NOT_FOUND'
    except OSError:
        return 'INGESTING_FILE_FAILED'
    return judge_meta(path + b'.meta.json') if size > 0 else 'EMPTY_FILE'


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


def ingest_batch(db, session, paths, folder):
    """Registers files, judges those that are PENDING, and returns how many have which status then."""
    names = [name_of(path, folder) for path in paths]
    rows = db.execute('SELECT file_ingestion_id, ingestion_status FROM session_files.register_files(%s, %s)', [session, names]).fetchall()
    counts = collections.Counter(status for _, status in rows if status != 'PENDING')
    verdicts = collections.defaultdict(list)
    for path, (file_id, status) in zip(paths, rows, strict=True):
        if status == 'PENDING':
            verdicts[judge(path)].append(file_id)
    for reason, ids in verdicts.items():
        if reason is None:
            db.execute('SELECT FROM session_files.finish_files(%s, %s)', [session, ids])
        else:
            db.execute('SELECT FROM session_files.fail_files(%s, %s, %s)', [session, ids, reason])
        counts['FAILED' if reason else 'FINISHED'] += len(ids)
    return counts


def main():
    parser = argparse.ArgumentParser(description='Registers every file of a folder in an upload session, and judges each.')
    parser.add_argument('session', type=uuid.UUID)
    parser.add_argument('folder')
    args = parser.parse_args()
    if not os.path.isdir(args.folder):
        parser.error(f'not a folder: {args.folder}')
    counts = collections.Counter()
    files = find_files(args.folder)
    with psycopg.connect(autocommit=True) as db:
        while batch := list(itertools.islice(files, BATCH)):
            counts += ingest_batch(db, args.session, batch, args.folder)
            print(f'{counts.total()} files: {counts["FINISHED"]} finished, {counts["FAILED"]} failed', flush=True)


if __name__ == '__main__':
    main()
