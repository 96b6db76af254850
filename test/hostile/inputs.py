"""Hostile values, by the type of what takes them; all as text, which need not be a value of the type."""

ID = '01a20be0-16a9-7dd5-8f33-4a1c9d27e5b0'

# Each is a name that has to come back as it went in, wherever a name may be.
STRINGS = [
    "'", "''", '"', '""', '\\', '\\\\', "\\'", "'; DROP TABLE session_files.files; --", "'); DROP SCHEMA session_files CASCADE; --",
    "' OR '1'='1", "' UNION SELECT rolpassword FROM pg_authid --", "'||pg_sleep(10)||'", "1; SELECT pg_sleep(10)", '$$', '$1', '$tag$', '$$; DROP',
    '--', '/*', '*/', '/* -- */', ';', '%s', '%I', '%L', '%n%n%n%n', '%', '%%', '%1$s', '{}', '{"a"}', '{NULL}', 'NULL', 'null', 'true',
    "E'\\x00'", "U&'\\0000'", "U&\"d\\0061t\\+000061\"", '\\x00', '\\000', '\\u0000', '\\ud800', '\\N', '\\.', '\\copy', '\t', '\n', '\r\n', '\x0b\x0c',
    '\x01', '\x08', '\x1b[2J\x1b[31m', '\x7f', '\x80', '\x85', '\xa0', '\xad', ' ', '  leading', 'trailing  ', '\u2028', '\u2029', '\ufeff', '\ufeffbom',
    '\u202e\u0065\u0078\u0065.txt', '\u200b', '\u200d', '\u0430dmin', 'ﬁle', 'ſ', 'İ', 'ı', 'ß', 'e\u0301', '\u00e9', '\u1e9e', 'Ａ', '＇', '＂',
    '\uff07; DROP TABLE files', '\ufffd', '\ufffe', '\uffff', '\U0001fffe', '\U0010ffff', '\ue000', '\U0001f468\u200d\U0001f469', 'a' + '\u0300' * 200,
    '</script><script>alert(1)</script>', '"}],"has_more":false,"total":0}', '{"detail":"', ',', '[1]', '\\"', '../../etc/passwd', '..', '.', '/', '//',
    'C:\\Windows', '%00', '%2F', '%2e%2e', '%ff', '%c0%af', 'a?b', 'a#b', 'a&b=c', 'a+b', '?limit=0', '\r\nSet-Cookie: a=b', 'HTTP/1.1 200 OK',
    'public', 'none', 'pg_catalog', 'session_files', 'current_user', 'select', 'PENDING', 'FINISHED', 'FILE NAME TOO LONG. MAX LENGTH IS 800',
    ID, '0', '-1', '1e999', 'NaN', 'Infinity', '9223372036854775808', 'x' * 63, 'x' * 64, 'ü' * 300, 'x' * 600,
]
assert len(set(STRINGS)) == len(STRINGS), 'each once'
LONG = ['x' * 601, 'x' * 800, 'x' * 801, '\U0010ffff' * 801, "'" * 2600, '\U0010ffff' * 830]
# And those that are too long for any name.
TOO_LONG = ["'" * 2601, '\U0010ffff' * 831, 'x' * 1000000]
# Not possible as text at all: the bytes of a parameter.
BYTES = [b'\xff', b'\xc0\x80', b'\xc0\xaf', b'\xed\xa0\x80', b'\xed\xb0\x80', b'\xf4\x90\x80\x80', b'\xf8\x88\x80\x80\x80', b'\xe2\x82', b'a\xe2', b'\x80',
         b'\xfe\xff']
NUL = [b'\x00', b'a\x00b', b'\x00\x00', b"'\x00'"]

IDS = [ID, ID.upper(), '{' + ID + '}', ID.replace('-', ''), '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff',
       '00000000-0000-4000-8000-000000000000', '00000000-0000-7000-8000-000000000000', 'ffffffff-ffff-7fff-bfff-ffffffffffff', '', 'x', "'", ID + "'", ID + ' ', 'x' * 5000]
NUMBERS = ['0', '-0', '1', '-1', '2', '101', '32767', '100000', '100001', '1000000', '1000001', '2147483647', '2147483648', '-2147483648', '-2147483649',
           '9223372036854775807', '9223372036854775808', '-9223372036854775808', '1.5', '1e3', 'NaN', '', ' 1 ', '0x1', '1_0', '١', "1'", '9' * 400]
INTERVALS = ['0', '-1 second', '1 microsecond', '1 second', '1 day', '359 days', '360 days', '361 days', '1 year', '1 year 1 microsecond', '1000 years',
             '1001 years', '-1000 years', '178956970 years', '-178956970 years', '2147483647 days', '-2147483648 days', '2562047788 hours',
             '9000000 years', '300000 years -107999999 days', '-6000 years 2160001 days', '5964000 years -2147000000 days', '1000 years -359999 days',
             '2147483647 days -51539607528 hours', '106751990 days -2562047000 hours', '1 year -359 days', '1 mon -29 days', '1 mon -30 days 1 microsecond', '700 days -16000 hours', 'infinity', '-infinity', 'NaN', 'epoch', '',
             "1 day'", 'P1Y', '1 fortnight', '999999999999999999999 years']
LABELS = ['PENDING', 'FINISHED', 'FAILED', 'EMPTY_FILE', 'SLOWDOWN', 'FILE NAME TOO LONG. MAX LENGTH IS 800', 'KEEP', 'OVERWRITE', 'FAIL', 'OPEN', 'pending', 'keeper', 'lister', 'KEEPER',
          '', ' ', "'", 'PENDING ', 'x' * 63, 'x' * 64, 'x' * 100000, 'РENDING']
ARRAYS = ['{}', '{NULL}', '{{}}', '{', '}', '', '{,}', '[1:0]={}', '{{{{{{{1}}}}}}}', '{"\\u0000"}', 'NULL', "'{}'", '[2147483647:2147483647]={1}']
JSON = ['{}', '[]', 'null', '1', '"a"', 'true', '', '{', "'", '{"if-none-match":null}', '{"if-none-match":1}', '{"if-none-match":{"a":[]}}', '{"if-none-match":"*"}',
        '{"if-none-match":"\\u0000"}', '{"if-none-match":"\\ud800"}', '{"if-none-match":"\\udc00\\ud800"}', '{"\\u0000":1}', '{"if-none-match":"\\"","if-none-match":"*"}',
        '{"if-none-match":"' + 'W/' * 50000 + '"}', '{"if-none-match":"' + '\\"0123456789abcdef\\",' * 5000 + '"}', '[' * 900 + ']' * 900, '[' * 100000,
        '{"a":' * 100000, '{"If-None-Match":"*"}', '{"if-none-match":"\ufffe\U0010ffff"}', '1e999999', '{"a":1}{"b":2}', '\ufeff{}']
ROLES = ['hostile_ungranted', 'none', 'public', '"public"', '"none"', '-', '0', '10', '4294967295', '4294967296', 'postgres', 'pg_read_all_data', '"', '""', 'a.b', 'a b',
         '"a"b', "hostile_ungranted'", 'HOSTILE_UNGRANTED', '"HOSTILE_UNGRANTED"', 'x' * 63, 'x' * 64, 'current_user', '"current_user"', '', ' ', '1e3', 'ü', '\u202e']
BYTEAS = ['\\x', '\\xff00', '\\x0', '\\xzz', '\\', '\\000', "'", '', 'x' * 100000]
TARGETS = ['', '/', '*', '//', '?', '#', '/api', '/healthz', '/openapi.json', 'http://host/healthz', '/api/v1/workspaces//upload_sessions//files', '/%', '/%0', '/%00', '/%zz',
           '/api/v1/workspaces/%00/upload_sessions/' + ID + '/files', '/api/v1/workspaces/%ff/upload_sessions/' + ID + '/files', '/api/v1/workspaces/a/upload_sessions/%27/files',
           '/api/v1/workspaces/a/upload_sessions/' + ID + '/files?' + 'limit=1&' * 5000, '/api/v1/workspaces/' + 'a' * 100000 + '/upload_sessions/' + ID + '/files',
           '/api/v1/workspaces/a/upload_sessions/' + ID + '/files?limit=' + '9' * 5000]


def array_of(items):
    return '{' + ','.join('"' + item.replace('\\', '\\\\').replace('"', '\\"') + '"' for item in items) + '}'


def arrays(items, good):
    """Gives arrays of values: of every shape, with NULL, with many."""
    yield from ARRAYS
    yield array_of(items)
    for item in items:
        yield array_of([item])
    one, two = good[0], good[-1]
    yield array_of([one] * 3)
    yield array_of(good * (10000 // len(good)))
    yield '{' + array_of([one, two]) + ',' + array_of([two, one]) + '}'
    yield '[-5:-4]=' + array_of([one, two])
    yield '[2147483646:2147483647]=' + array_of([one, two])
    yield '[3:3][7:8]={' + array_of([one, two]) + '}'
    yield array_of([one])[:-1] + ',NULL}'
    yield '{NULL,' + array_of([one])[1:]


TYPES = {
    'text': STRINGS + LONG + TOO_LONG + TARGETS,
    'uuid': IDS,
    'integer': NUMBERS,
    'bigint': NUMBERS,
    'interval': INTERVALS,
    'regrole': ROLES,
    'json': JSON,
    'bytea': BYTEAS,
    'text[]': list(arrays(STRINGS + LONG, ['a', 'b', 'c'])) + [array_of([name]) for name in TOO_LONG],
    # Also as many as our sessions have names.
    'bigint[]': list(arrays(NUMBERS, ['0', '1'])) + [array_of([number] * 5) for number in NUMBERS],
    'jsonb[]': list(arrays(JSON, ['{}', '{"a": 1}'])) + [array_of([value] * 5) for value in JSON],
    'uuid[]': list(arrays(IDS, IDS[:1])),
    'session_files.write_mode': LABELS,
    'session_files.grant_kind': LABELS,
    'session_files.grant_kind[]': list(arrays(LABELS, ['keeper', 'lister'])),
    'session_files.ingestion_status_reason': LABELS,
    'session_files.ingestion_status_reason[]': list(arrays(LABELS, LABELS[3:5])),
}
