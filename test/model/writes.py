"""Random files and random writes to them, by every way that a table can be written."""

import json
import uuid
from typing import NamedTuple

import model

WORKSPACES = ['acme', 'a/b c+d%41', 'wörk "space" \\\U0001F600\x01', 'half \ufffd', "o'neil"]
CODE_POINTS = [(0x20, 0x7e), (1, 0x1f), (0x7f, 0x7f), (0x80, 0x7ff), (0x800, 0xd7ff), (0xe000, 0xfffd),
               (0xffff, 0xffff), (0x10000, 0x10fffe), (0x10ffff, 0x10ffff)]    # NUL and surrogates are no text
WORDS = ['a', 'a\x01', '"quoted"', "it's", 'back\\slash', '\\u0041', '\\', '/', '{}', '%', 'null', ' ', '\t', '\xe9',
         'e\u0301', '\x7f', '\uffff', '\U0010ffff', '\ue000', '\U00010000', '\u2028', 'FAILED', '-', '_', 'A', 'Z',
         'z', '\b\f\n\r']
COLUMNS = 'session_id, file_ingestion_id, ingestion_status, ingestion_status_reason, name'
SOURCE = 'json_populate_recordset(NULL::session_files.files, %s) AS source'
NEW_STATE = '''ingestion_status = source.ingestion_status,
               ingestion_status_reason = source.ingestion_status_reason'''


class Row(NamedTuple):
    """A row of session_files.files."""
    session_id: str
    file_ingestion_id: str
    ingestion_status: str
    ingestion_status_reason: str | None
    name: str


def as_json(rows):
    return json.dumps([row._asdict() for row in rows])


def insert_rows(db, rows, conflict=''):
    db.execute(f'INSERT INTO session_files.files ({COLUMNS}) SELECT {COLUMNS} FROM {SOURCE} {conflict}', [as_json(rows)])


def upsert_rows(db, rng, rows):
    insert_rows(db, rows, 'ON CONFLICT (session_id, file_ingestion_id) DO '
                + rng.choice(['NOTHING', 'UPDATE SET ' + NEW_STATE.replace('source.', 'excluded.')]))


def copy_rows(db, rows):
    with db.cursor() as cursor, cursor.copy(f'COPY session_files.files ({COLUMNS}) FROM STDIN') as stream:
        for row in rows:
            stream.write_row(row)


def update_rows(db, rows):
    db.execute(f'''UPDATE session_files.files SET {NEW_STATE} FROM {SOURCE}
                   WHERE files.session_id = source.session_id AND files.file_ingestion_id = source.file_ingestion_id''', [as_json(rows)])


def merge_rows(db, rows):
    if db.info.server_version >= 150000:
        db.execute(f'''MERGE INTO session_files.files USING {SOURCE}
                       ON files.session_id = source.session_id AND files.file_ingestion_id = source.file_ingestion_id
                       WHEN MATCHED AND char_length(source.name) %% 3 = 0 THEN DELETE
                       WHEN MATCHED THEN UPDATE SET {NEW_STATE}
                       WHEN NOT MATCHED THEN INSERT ({COLUMNS}) VALUES (source.session_id, source.file_ingestion_id,
                           source.ingestion_status, source.ingestion_status_reason, source.name)''', [as_json(rows)])


def register_names(db, session, names, sizes=None):
    """Registers files; gives the ids."""
    rows = db.execute('SELECT name, file_ingestion_id FROM session_files.register_files(%s, %s, %s::bigint[])', (session, names, sizes)).fetchall()
    assert [name for name, _ in rows] == names, 'register_files: one row per name, in the order given'
    assert len(set(rows)) == len(set(names)), 'register_files: one id per name'
    return [file for _, file in rows]


def add_names(db, rng, session, names):
    """Adds files by one of the ways in which they become PENDING."""
    match rng.randrange(3):
        case 0:
            register_names(db, session, names)
        case 1:
            db.execute('INSERT INTO session_files.files (session_id, name) SELECT %s, unnest(%s::text[])', [session, names])
        case 2:
            with db.cursor() as cursor, cursor.copy('COPY session_files.files (session_id, name) FROM STDIN') as stream:
                for name in names:
                    stream.write_row([session, name])


def random_text(rng, length, code_points=CODE_POINTS):
    return ''.join(chr(rng.randint(*rng.choice(code_points))) for _ in range(length))


def random_id(rng):
    """Makes a version-7 uuid, often of the same few milliseconds."""
    time = 1_750_000_000_000 + rng.choice([rng.randrange(5), rng.randrange(10**9)])
    tail = rng.choice([rng.getrandbits(62), rng.getrandbits(20)])
    return str(uuid.UUID(int=time << 80 | 7 << 76 | rng.getrandbits(12) << 64 | 2 << 62 | tail))


def random_state(rng):
    """Picks a status, and a reason for FAILED: every second time the same one, for ties."""
    status = rng.choice(model.STATUSES)
    return status, rng.choice([model.REASONS[0], rng.choice(model.REASONS)]) if status == 'FAILED' else None


class Names:
    """Gives names that it never gave before, many of them alike."""

    def __init__(self, rng):
        self.rng, self.given = rng, set()
        self.prefixes = [random_text(rng, 300), 'x' * 300, random_text(rng, 800), 'y' * 799 + '\xe9']

    def new(self):
        while True:
            name = self.any()
            if name not in self.given:
                self.given.add(name)
                return name

    def any(self):
        rng, prefix = self.rng, self.rng.choice(self.prefixes)
        match rng.randrange(10):
            case 0 | 1 | 2:
                return f'file {rng.randrange(10**6)}.txt'
            case 3 | 4:
                return random_text(rng, rng.randint(1, 12))
            case 5:
                return ''.join(rng.choices(WORDS, k=rng.randint(1, 4)))
            case 6:    # some are too long, and alike in their first 800 characters
                return prefix + random_text(rng, rng.choice([0, 1, 2, 3, 30]))
            case 7:    # prefixes of each other
                return prefix[:rng.randint(1, len(prefix))]
            case 8:
                return prefix[:300] + random_text(rng, rng.randint(0, 500))
            case 9:
                return random_text(rng, rng.choice([5, 5, 5, 799, 800, 800, 801, 830]), [(0x10000, 0x10ffff)])


class Writer:
    """Writes random things through one connection; `check` is called now and then inside what is rolled back."""

    def __init__(self, db, rng, check=lambda: None):
        self.db, self.rng, self.check, self.names = db, rng, check, Names(rng)

    def write(self):
        """Runs some random writes."""
        for _ in range(self.rng.randint(1, 4)):
            with self.db.transaction():
                self.rng.choice(self.WRITES)(self)

    def create_workspaces(self):
        for workspace in WORKSPACES:
            self.db.execute('SELECT session_files.create_workspace(%s)', [workspace])

    def create_session(self, size=0):
        session, = self.db.execute('SELECT session_files.create_session(%s)::text',
                                   [self.rng.choice(WORKSPACES)]).fetchone()
        self.copy(self.new_rows(size, session))
        return session

    def session(self):
        return self.rng.choice(self.db.execute(
            'SELECT session_id::text FROM session_files.upload_sessions ORDER BY session_id').fetchall())[0]

    def new_rows(self, most, session=None):
        """Makes rows for a session: `most` if it is given, else up to `most` for any."""
        rng, ids = self.rng, set()
        count = most if session else rng.randint(0, most)
        session = session or self.session()
        while len(ids) < count:
            ids.add(random_id(rng))
        return [Row(session, file, *random_state(rng), self.names.new()) for file in rng.sample(sorted(ids), count)]

    def changed_rows(self, session, most=10**6):
        """Picks files of a session whose status may change, with a new one."""
        rows = self.db.execute('''SELECT file_ingestion_id::text, name FROM session_files.files
                                  WHERE session_id = %s AND char_length(name) <= 800 ORDER BY name''',
                               [session]).fetchall()
        most = min(len(rows), most)
        rows = self.rng.sample(rows, self.rng.choice([min(most, 1), self.rng.randint(0, most)]))
        return [Row(session, file, *random_state(self.rng), name) for file, name in rows]

    def ids(self, session, most=10**6):
        return [row.file_ingestion_id for row in self.changed_rows(session, most)]

    def insert(self):
        insert_rows(self.db, self.new_rows(60))

    def insert_into_several_sessions(self):
        rows = [row for _ in range(9) for row in self.new_rows(2)]
        rows = list({(row.session_id, row.file_ingestion_id): row for row in rows}.values())
        insert_rows(self.db, rows)

    def insert_one_by_one(self):
        with self.db.cursor() as cursor:
            cursor.executemany('INSERT INTO session_files.files VALUES (%s, %s, %s, %s, %s)', self.new_rows(9))

    def insert_with_defaults(self):
        self.db.execute('INSERT INTO session_files.files (session_id, name) VALUES (%s, %s)',
                        (self.session(), self.names.new()))

    def copy(self, rows=None):
        copy_rows(self.db, self.new_rows(200) if rows is None else rows)

    def update_status(self):
        update_rows(self.db, self.changed_rows(self.session()))

    def update_every_session(self):
        self.db.execute('''UPDATE session_files.files SET ingestion_status = %s, ingestion_status_reason = %s
                           WHERE char_length(name) <= 800 AND ingestion_status = %s''',
                        (*random_state(self.rng), self.rng.choice(model.STATUSES)))

    def update_name(self):
        for row in self.changed_rows(self.session(), 10):
            name = self.names.new()
            status, reason = ('FAILED', model.TOO_LONG) if len(name) > 800 else random_state(self.rng)
            self.db.execute('''UPDATE session_files.files
                               SET name = %s, ingestion_status = %s, ingestion_status_reason = %s
                               WHERE session_id = %s AND file_ingestion_id = %s''', (name, status, reason, *row[:2]))

    def exchange_states(self):
        """Gives some files each other's states, which changes no count, and every second time takes that back."""
        session = self.session()
        rows = self.changed_rows(session, 6)
        before = self.db.execute('''SELECT session_id::text, file_ingestion_id::text, ingestion_status::text,
                                           ingestion_status_reason::text, name FROM session_files.files
                                    WHERE session_id = %s AND file_ingestion_id = ANY (%s) ORDER BY 2''',
                                 (session, [row.file_ingestion_id for row in rows])).fetchall()
        turned = [(*row[:2], *other[2:4], row[4]) for row, other in zip(before, before[1:] + before[:1])]
        for rows in [turned, before][:self.rng.choice([1, 2])]:
            update_rows(self.db, [Row(*row) for row in rows])

    def change_expiry(self):
        self.db.execute("UPDATE session_files.upload_sessions SET expires_at = created_at + %s * interval '1 hour' WHERE session_id = %s",
                        (self.rng.randint(1, 3), self.session()))

    def move(self):
        start, goal = self.session(), self.session()
        self.db.execute('''UPDATE session_files.files SET session_id = %(goal)s
                           WHERE session_id = %(start)s AND file_ingestion_id = ANY (%(files)s) AND NOT EXISTS (
                               SELECT FROM session_files.files there WHERE there.session_id = %(goal)s
                               AND (there.name = files.name OR there.file_ingestion_id = files.file_ingestion_id))''',
                        {'start': start, 'goal': goal, 'files': self.ids(start)})

    def delete(self):
        session = self.session()
        self.db.execute('DELETE FROM session_files.files WHERE session_id = %s AND file_ingestion_id = ANY (%s)',
                        (session, self.ids(session, 50)))

    def upsert(self):
        session = self.session()
        rows = self.changed_rows(session) + self.new_rows(self.rng.randint(0, 20), session)
        upsert_rows(self.db, self.rng, rows)

    def merge(self):
        session = self.session()
        merge_rows(self.db, self.changed_rows(session) + self.new_rows(self.rng.randint(0, 20), session))

    def register(self):
        session = self.session()
        names = [self.names.new() for _ in range(self.rng.randint(0, 30))]
        names += [row.name for row in self.changed_rows(session, 5)]
        names += self.rng.choices(names, k=3) if names else []
        register_names(self.db, session, names, self.rng.choice([None, self.rng.choices([None, 0, 5], k=len(names))]))

    def finish(self):
        session = self.session()
        self.db.execute('SELECT session_files.finish_files(%s, %s::uuid[])', (session, self.ids(session)))

    def fail(self):
        session = self.session()
        self.db.execute('SELECT session_files.fail_files(%s, %s::uuid[], %s)',
                        (session, self.ids(session), self.rng.choice(model.REASONS)))

    def replace_session(self):
        """Deletes a session and makes a new one, perhaps with the same id, with names that other sessions have too."""
        old, new = self.session(), str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        new = self.rng.choice([old, new])
        self.db.execute('DELETE FROM session_files.upload_sessions WHERE session_id = %s', [old])
        self.db.execute('INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES (%s, %s)',
                        (new, self.rng.choice(WORKSPACES)))
        self.db.execute('''INSERT INTO session_files.files
                           SELECT %s::uuid, file_ingestion_id, ingestion_status, ingestion_status_reason, name
                           FROM session_files.files WHERE session_id = %s ORDER BY name LIMIT 100''',
                        (new, self.session()))

    def truncate(self):
        with self.db.transaction(force_rollback=self.rng.random() < 0.8):
            self.db.execute('TRUNCATE session_files.files')
            self.insert()
            self.check()

    def roll_back(self):
        with self.db.transaction(force_rollback=True):
            self.write()
            self.check()
            self.write()

    WRITES = [insert, insert_into_several_sessions, insert_one_by_one, insert_with_defaults, copy, update_status,
              update_every_session, update_name, exchange_states, change_expiry, move, delete, upsert, merge, register, finish, fail] * 3
    WRITES += [roll_back] * 5 + [replace_session] * 2 + [truncate]
