"""Runs cases.json and the golden answers against a front end: pytest test/http --base-url http://127.0.0.1:PORT

The front end's database has the extension and fixture.sql. cases.json has

- `sessions`: label -> path of the listing and the value of Session-Expires-At;
- `files`: label -> [file_ingestion_id, ingestion_status, ingestion_status_reason, name];
- `groups`: subject -> cases.

A case has a name, a target and the answer: `status` (200 if left out), `headers`, and the body, to the byte, as one of

- `body`: its text;
- `json`: the value of an error, to be written without white space and needless escapes, keys in the order given;
- `page`: for a listing, the labels of its files, has_more and total;
- nothing, where only {"detail": some text} is asked for.

`method` is GET if left out. `request_headers` and `request_body` are sent along. In targets and inputs <label> stands
for the path of a session or the id of a file. A list is a long text, in parts that are a string or [string, repeats].
`any_body`: what refuses that is the front end's HTTP library, in its own words. Characters of a target are sent as UTF-8,
unescaped, and U+DC80 to U+DCFF as the bytes 80 to FF. `or_status`: a front end may refuse such a target before it looks at the
path, with this status and any JSON detail. A header that is null is not there. Every answer with a body has
Content-Type: application/json; a listing whose target begins with <session> has its Session-Expires-At, an ETag and
Cache-Control, and so has the answer that it has not changed; an error is not to be kept. Vary says that an answer depends on the
token, but for the paths that need none.
"""

import http.client
import json
import pathlib
import re
import subprocess
import uuid
from urllib.parse import quote, unquote, urljoin, urlsplit

import pytest

from client import ask, exchange, make_request, parse

HERE = pathlib.Path(__file__).parent
CASES = json.loads((HERE / 'cases.json').read_text(encoding='utf-8'))
SESSIONS, FILES = CASES['sessions'], CASES['files']
GOLDEN = {name: json.loads((HERE.parent / 'golden' / f'{name}.json').read_text(encoding='ascii'))
          for name in ('uuid', 'integer')}
MAX_TARGET_BYTES = 6000
ETAG = re.compile('"[0-9a-f]{16}"')


def text_of(text):
    """Returns the plain string of a text that may be a list of parts and may have <labels>."""
    if not isinstance(text, str):
        text = ''.join(part if isinstance(part, str) else part[0] * part[1] for part in text)
    return re.sub(r'<(\w+)>', lambda match: replace(match[1], match[0]), text)


def replace(label, unknown):
    if label in SESSIONS:
        return SESSIONS[label]['path']
    return FILES[label][0] if label in FILES else unknown


def render(value):
    return json.dumps(value, ensure_ascii=False, separators=(',', ':'))


def render_page(files, has_more, total):
    keys = ('file_ingestion_id', 'ingestion_status', 'ingestion_status_reason', 'name')
    return render({'data': [dict(zip(keys, file)) for file in files], 'has_more': has_more, 'total': total})


def page_of(data, has_more, total):
    files = [FILES[label] for label in data.split()]
    return render_page([[*file[:3], text_of(file[3])] for file in files], has_more, total)


def render_errors(value):
    """Returns the text of a body whose `input`s may be labels or long texts."""
    if isinstance(value['detail'], str):
        return render(value)
    return render({'detail': [error | {'input': text_of(error['input'])} for error in value['detail']]})


def expected_body(case):
    """Returns the exact text of the body, or None if any detail will do."""
    if 'body' in case:
        return case['body']
    if 'json' in case:
        return render_errors(case['json'])
    return page_of(**case['page']) if 'page' in case else None


def expected_headers(case):
    status = case.get('status', 200)
    target = case['target']
    headers = {'Content-Type': None if status == 304 else 'application/json'}
    session = re.match(r'<(\w+)>', target if isinstance(target, str) else target[0])
    if status >= 400:
        headers |= {'Cache-Control': 'no-store', 'Retry-After': None}
    elif session:
        headers |= {'Session-Expires-At': SESSIONS[session[1]]['expires_at'], 'Cache-Control': 'private, no-cache'}
    return headers | {name: value and text_of(value) for name, value in case.get('headers', {}).items()}


def send(base_url, case, method=None):
    headers = [(name, text_of(value)) for name, value in case.get('request_headers', [])]
    body = case.get('request_body', '').encode()
    return ask(base_url, method or case.get('method', 'GET'), text_of(case['target']), headers, body)


def assert_detail(answer):
    """Asserts that an answer has some detail in JSON."""
    assert answer.headers.get_all('Content-Type') == ['application/json']
    detail = json.loads(answer.body)
    assert list(detail) == ['detail'] and isinstance(detail['detail'], str) and detail['detail']


def all_cases(only=lambda case: True):
    return [pytest.param(case, id=f'{subject}: {case["name"]}')
            for subject, cases in CASES['groups'].items() for case in cases if only(case)]


@pytest.mark.parametrize('case', all_cases())
def test_case(base_url, case):
    answer = send(base_url, case)
    if 'or_status' in case and answer.status == case['or_status']:
        return assert_detail(answer)
    if case.get('any_body'):
        assert answer.status == case['status'], answer.body[:500]
        return None
    body = expected_body(case)
    assert answer.status == case.get('status', 200), answer.body[:500]
    if body is None:
        return assert_detail(answer)
    assert answer.body.decode('utf-8') == body
    assert {name: answer.headers.get_all(name) for name in expected_headers(case)} == {
        name: value and [value] for name, value in expected_headers(case).items()}
    has_version = 'Session-Expires-At' in expected_headers(case)
    assert bool(ETAG.fullmatch(answer.headers.get('ETag', ''))) == has_version
    if not has_version:
        for name in ('ETag', 'Session-Expires-At', 'Link'):
            assert name not in answer.headers
    by_role = unquote(urlsplit(text_of(case['target'])).path) not in ('/healthz', '/openapi.json')
    assert ('Authorization' in answer.headers.get('Vary', '').split(', ')) == by_role
    if answer.status != 405:
        assert 'Allow' not in answer.headers


@pytest.mark.parametrize('case', all_cases(lambda case: 'method' not in case and expected_body(case)))
def test_head_answers_as_get_without_a_body(base_url, case):
    get, head = send(base_url, case), send(base_url, case, 'HEAD')
    assert head.body == b''
    assert head.status == get.status
    for name in ('Content-Type', 'Content-Length', 'Session-Expires-At', 'ETag', 'Cache-Control', 'Link', 'Allow', 'Vary'):
        assert head.headers.get_all(name) == get.headers.get_all(name), name


def test_two_requests_on_one_connection(base_url):
    """The body of the first is not taken for the second, and the connection stays open for it."""
    target = text_of('<S>?limit=1')
    first = make_request(base_url, 'GET', target, body=b'GET / HTTP/1.1\r\n\r\n')
    second = make_request(base_url, 'GET', target, [('Connection', 'close')])
    answer, rest = parse(exchange(base_url, first + second), 'GET')
    assert answer.body.decode() == page_of('f30', True, 30)
    answer, rest = parse(rest, 'GET')
    assert answer.body.decode() == page_of('f30', True, 30)
    assert rest == b''


# Longer sessions than cases.json can show

def many_file(number):
    return (f'01980000-0300-7000-8000-{number:012}', 'FINISHED', None, f'file {number}')


@pytest.mark.parametrize('query, numbers, has_more', [
    ('limit=100', range(101, 1, -1), True),
    ('limit=100&order=ASC', range(1, 101), True),
    ('limit=100&page_number=2', range(1, 0, -1), False),
    ('limit=100&page_number=2&order=ASC', range(101, 102), False),
    (f'limit=100&order=ASC&after={many_file(1)[0]}', range(2, 102), False),
    (f'limit=100&order=ASC&before={many_file(101)[0]}', range(1, 101), False),
    (f'limit=99&order=ASC&before={many_file(101)[0]}', range(2, 101), True),
    ('limit=34&page_number=3&ingestion_status=FINISHED', range(33, 0, -1), False),
])
def test_page_of_many_files(base_url, query, numbers, has_more):
    answer = ask(base_url, 'GET', text_of('<many>?' + query))
    assert answer.body.decode() == render_page(map(many_file, numbers), has_more, 101)


LONG = ''.join(chr(0x20000 + k * k * 7919 % 42720) for k in range(1, 801))
LONG_NAMES = [LONG, LONG[:799] + '!', LONG[:799] + '\U0010ffff', LONG + 'b', LONG + 'a', LONG + 'z' * 30,
              LONG + 'z' * 29 + 'y', LONG[:400], 'x', '\U0010ffff']
# By bytes, counted from 1: no name is a beginning of one before it.
LONG_NAMES_SORTED = [9, 8, 2, 1, 5, 4, 7, 6, 3, 10]


def long_file(number):
    name = LONG_NAMES[number - 1]
    state = ('PENDING', None) if len(name) <= 800 else ('FAILED', 'FILE NAME TOO LONG. MAX LENGTH IS 800')
    return (f'01980000-0200-7000-8000-{number:012}', *state, name)


@pytest.mark.parametrize('query, numbers, has_more, total', [
    ('field=name&order=ASC', LONG_NAMES_SORTED, False, 10),
    ('field=name&order=DESC', LONG_NAMES_SORTED[::-1], False, 10),
    ('field=name&order=ASC&ingestion_status=PENDING', [9, 8, 2, 1, 3, 10], False, 6),
    ('field=name&order=ASC&ingestion_status=FAILED', [5, 4, 7, 6], False, 4),
    (f'field=name&order=ASC&limit=3&after={long_file(2)[0]}', [1, 5, 4], True, 10),
    (f'field=name&order=ASC&limit=3&after={long_file(5)[0]}', [4, 7, 6], True, 10),
    (f'field=name&order=ASC&limit=3&after={long_file(7)[0]}', [6, 3, 10], False, 10),
    (f'field=name&order=ASC&limit=2&before={long_file(6)[0]}', [4, 7], True, 10),
    (f'field=name&order=DESC&limit=2&before={long_file(4)[0]}', [6, 7], True, 10),
    (f'field=name&order=DESC&limit=2&after={long_file(1)[0]}', [2, 8], True, 10),
    (f'field=name&order=ASC&limit=3&after={long_file(1)[0]}&before={long_file(3)[0]}', [5, 4, 7], True, 10),
    (f'field=name&order=ASC&after={long_file(8)[0]}&ingestion_status=FAILED', [5, 4, 7, 6], False, 4),
    ('field=name&order=ASC&limit=2&page_number=3', [5, 4], True, 10),
    ('field=ingestion_status_reason&order=ASC', [4, 5, 6, 7, 1, 2, 3, 8, 9, 10], False, 10),
])
def test_page_of_long_names(base_url, query, numbers, has_more, total):
    answer = ask(base_url, 'GET', text_of('<long_names>?' + query))
    assert answer.body.decode() == render_page(map(long_file, numbers), has_more, total)


@pytest.mark.parametrize('status', ['', 'PENDING', 'FAILED', 'FINISHED'])
@pytest.mark.parametrize('order', ['ASC', 'DESC'])
@pytest.mark.parametrize('field', ['created_at', 'ingestion_status', 'ingestion_status_reason', 'name'])
def test_walks_give_what_one_page_gives(base_url, field, order, status):
    """By cursors forth and back, and by pages, in steps of 3."""
    query = f'?field={field}&order={order}&ingestion_status={status}'

    def ids(extra):
        page = json.loads(ask(base_url, 'GET', text_of('<S>') + query + extra).body)
        return [item['file_ingestion_id'] for item in page['data']], page['has_more']

    everything, has_more = ids('&limit=100')
    assert everything and not has_more
    forth, back, pages = everything[:1], everything[-1:], []
    has_more = True
    while has_more:
        step, has_more = ids(f'&limit=3&after={forth[-1]}')
        assert step, forth
        forth += step
    has_more = True
    while has_more:
        step, has_more = ids(f'&limit=3&before={back[0]}')
        assert step, back
        back = step + back
    has_more = True
    while has_more:
        step, has_more = ids(f'&limit=3&page_number={len(pages) // 3 + 1}')
        assert step, pages
        pages += step
    assert forth == everything
    assert back == everything
    assert pages == everything


@pytest.mark.parametrize('status', ['', 'FAILED'])
@pytest.mark.parametrize('order', ['ASC', 'DESC'])
@pytest.mark.parametrize('field', ['created_at', 'ingestion_status', 'ingestion_status_reason', 'name'])
def test_walks_by_links_give_what_one_page_gives(base_url, field, order, status):
    """As a client resolves them; there, and all the way back."""
    url = base_url + text_of('<S>') + f'?field={field}&order={order}&ingestion_status={status}&limit='
    everything = ids_of(follow(url + '100'))

    def walk(url, relation):
        while url:
            answer = follow(url)
            yield url, ids_of(answer)
            url = links_of(url, answer).get(relation)

    forth = list(walk(url + '4', 'next'))
    assert sum((ids for _, ids in forth), []) == everything
    assert len(forth) == (len(everything) + 3) // 4
    back = list(walk(forth[-1][0], 'prev'))
    assert sum((ids for _, ids in reversed(back)), []) == everything
    assert len(back) == len(forth)


def follow(url):
    parts = urlsplit(url)
    answer = ask(f'{parts.scheme}://{parts.netloc}', 'GET', f'{parts.path}?{parts.query}')
    assert answer.status == 200, (url, answer.body)
    return answer


def ids_of(answer):
    return [item['file_ingestion_id'] for item in json.loads(answer.body)['data']]


def links_of(url, answer):
    """Returns the URLs in the header Link by their relation."""
    found = re.findall(r'<([^>]*)>; rel="(\w+)"(?:, |$)', answer.headers.get('Link', ''))
    return {relation: urljoin(url, reference) for reference, relation in found}


# Versions

@pytest.mark.parametrize('method', ['GET', 'HEAD'])
@pytest.mark.parametrize('form', ['{}', 'W/{}', '"a", {}', '{},"a"', '"a,b" ,, W/{} , "c"', ' {} ', '{}, *'])
def test_the_version_that_is_there(base_url, form, method):
    target = text_of('<S>?field=name&limit=7')
    first = ask(base_url, 'GET', target)
    again = ask(base_url, method, target, [('If-None-Match', form.format(first.headers['ETag']))])
    assert (again.status, again.body) == (304, b'')
    for name in ('ETag', 'Cache-Control', 'Session-Expires-At', 'Vary'):
        assert again.headers.get_all(name) == first.headers.get_all(name)
    for name in ('Content-Type', 'Content-Length', 'Content-Range', 'Link', 'Transfer-Encoding'):
        assert name not in again.headers


@pytest.mark.parametrize('target', ['<S>?limit=1', '/openapi.json'])
def test_nothing_follows_not_modified(base_url, target):
    """A connection goes on after it, or says that it does not."""
    first = make_request(base_url, 'GET', text_of(target), [('If-None-Match', '*')])
    second = make_request(base_url, 'GET', text_of('<S>?limit=1'), [('Connection', 'close')])
    answer, rest = parse(exchange(base_url, first + second), 'GET')
    assert answer.status == 304
    if answer.headers.get('Connection') != 'close':
        answer, rest = parse(rest, 'GET')
        assert answer.body.decode() == page_of('f30', True, 30)
    assert rest == b''


@pytest.mark.parametrize('forms', [['"a"', '{}'], ['{}', '"a"'], ['"a"', '"b", W/{}', '"c"'], ['"a"', '*, {}'], ['', '{}']])
def test_several_lines_are_one_list(base_url, forms, has_nginx):
    """But nginx refuses them."""
    target = text_of('<S>?limit=7')
    etag = ask(base_url, 'GET', target).headers['ETag']
    answer = ask(base_url, 'GET', target, [('If-None-Match', form.format(etag)) for form in forms])
    other = ask(base_url, 'GET', target, [('If-None-Match', '"a"'), ('If-None-Match', '"b"')])
    assert (answer.status, other.status) == ((400, 400) if has_nginx else (304, 200))
    if has_nginx:
        assert_detail(answer)


@pytest.mark.parametrize('form', ['{}x', 'w/{}', 'W/W/{}', 'W/ {}', "'{}'", '{};q=1', '"{}"'])
def test_what_is_no_version(base_url, form):
    target = text_of('<S>?limit=1')
    etag = ask(base_url, 'GET', target).headers['ETag']
    for sent in (form.format(etag), etag.strip('"'), etag[:-2] + '"'):
        assert ask(base_url, 'GET', target, [('If-None-Match', sent)]).status == 200, sent


def test_sessions_have_versions_of_their_own(base_url):
    etags = {ask(base_url, 'GET', text_of(f'<{label}>')).headers['ETag'] for label in SESSIONS}
    empty = {value['expires_at'] for label, value in SESSIONS.items() if label in ('japan', 'percent', 'replacement')}
    assert len(empty) == 1    # these three have no file and expire at the same time: one version
    assert len(etags) == len(SESSIONS) - 2


WRITES = [
    "INSERT INTO session_files.files (session_id, name) SELECT %(s)s, 'file ' || n FROM generate_series(1, 20) n",
    "UPDATE session_files.files SET name = 'renamed' WHERE session_id = %(s)s AND name = 'file 7'",
    "UPDATE session_files.files SET name = 'file 7' WHERE session_id = %(s)s AND name = 'renamed'",
    "UPDATE session_files.files SET name = name, generation = DEFAULT WHERE session_id = %(s)s",
    "UPDATE session_files.files SET ingestion_status = 'FAILED', ingestion_status_reason = 'SLOWDOWN' WHERE session_id = %(s)s AND name = 'file 8'",
    "UPDATE session_files.files SET ingestion_status_reason = 'EMPTY_FILE' WHERE session_id = %(s)s AND name = 'file 8'",
    "SELECT session_files.register_files(%(s)s, ARRAY['file 1', 'file 2'])",
    "SELECT session_files.register_files(%(s)s, ARRAY['file 1', 'new'])",
    "SELECT session_files.claim_files('w', 3, session_id => %(s)s)",
    "SELECT session_files.finish_files(%(s)s, ARRAY(SELECT file_ingestion_id FROM session_files.files WHERE session_id = %(s)s AND name < 'file 4'))",
    "SELECT session_files.finish_files(%(s)s, ARRAY(SELECT file_ingestion_id FROM session_files.files WHERE session_id = %(s)s AND name < 'file 4'))",
    "UPDATE session_files.upload_sessions SET expires_at = expires_at + '1 second' WHERE session_id = %(s)s",
    "SELECT session_files.close_session(%(s)s)",
    "DELETE FROM session_files.files WHERE session_id = %(s)s AND name = 'no such file'",
    "DELETE FROM session_files.files WHERE session_id = %(s)s AND name = 'new'",
    "UPDATE session_files.files SET session_id = %(t)s WHERE session_id = %(s)s AND name = 'file 9'",
    "UPDATE session_files.files SET session_id = %(s)s WHERE session_id = %(t)s AND name = 'file 9'",
    "DELETE FROM session_files.files WHERE session_id = %(t)s",
    "DELETE FROM session_files.files WHERE session_id = %(s)s",
    "DELETE FROM session_files.files WHERE session_id = %(s)s",
]


def test_not_modified_exactly_when_nothing_changed(base_url, database):
    """After each write a version that was seen holds exactly if everything is as it was then."""
    workspace = f'versions {uuid.uuid4()}'
    database.execute('SELECT session_files.create_workspace(%s)', [workspace])
    database.execute("SELECT session_files.grant_workspace('session_files_anonymous', %s)", [workspace])
    sessions = {name: database.execute('SELECT session_files.create_session(%s)', [workspace]).fetchone()[0] for name in 'st'}
    path = f'/api/v1/workspaces/{quote(workspace)}/upload_sessions/{sessions["s"]}/files'
    seen, unchanged = {}, 0
    try:
        for write in [None, *WRITES]:
            if write:
                database.execute(write, sessions)
            answer = ask(base_url, 'GET', path + '?limit=100')
            now = answer.body, answer.headers['Session-Expires-At']
            for query in ('?limit=100', '?limit=0', '?ingestion_status=PENDING&field=name&limit=2&page_number=2'):
                for etag, then in seen.items():
                    status = ask(base_url, 'GET', path + query, [('If-None-Match', etag)]).status
                    assert status == (304 if then == now else 200), (write, query)
            unchanged += answer.headers['ETag'] in seen
            assert seen.setdefault(answer.headers['ETag'], now) == now, write
        assert (len(seen), unchanged) == (11, 10)
    finally:
        database.execute('DELETE FROM session_files.upload_sessions WHERE workspace_name = %s', [workspace])
        database.execute('DELETE FROM session_files.workspaces WHERE name = %s', [workspace])


def test_unavailable_for_a_time(base_url, database):
    """As long as a lock keeps the listing waiting for longer than lock_timeout (http/roles.sql)."""
    with database.transaction():
        database.execute('LOCK session_files.upload_sessions')
        answer = ask(base_url, 'GET', text_of('<S>'))
    assert (answer.status, answer.body) == (503, b'{"detail":"Service Unavailable"}')
    headers = {name: answer.headers.get_all(name) for name in ('Content-Type', 'Cache-Control', 'Retry-After')}
    assert headers == {'Content-Type': ['application/json'], 'Cache-Control': ['no-store'], 'Retry-After': ['1']}
    assert 'Authorization' in answer.headers['Vary'].split(', ')
    assert ask(base_url, 'GET', text_of('<S>')).status == 200


# Requests that are too large

@pytest.mark.parametrize('target, headers, status', [
    (text_of(['<S>?x=', ['a', 60000]]), [], 414),
    ('/healthz', [('X', 'a' * 60000)], 431),
])
def test_what_is_too_large_has_its_answer(base_url, target, headers, status):
    """Each time: a connection that is closed with bytes unread may be reset before the client has sent all, or has read the answer."""
    request = make_request(base_url, 'GET', target, [('Connection', 'close'), *headers])
    assert [outcome_of_large(base_url, request) for _ in range(20)] == [status] * 20


def outcome_of_large(base_url, request):
    try:
        return parse(exchange(base_url, request, whole=True), 'GET')[0].status
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__


@pytest.mark.parametrize('size, answer', [(9000, '2 414'), (60000, '0 000')])
def test_what_is_too_large_over_http_2(base_url, size, answer):
    """nginx ends the connection for what is far too large, without an answer: http/nginx.conf says so."""
    if not base_url.startswith('https:'):
        pytest.skip('HTTP/2 comes with TLS')
    command = ['curl', '--disable', '--noproxy', '*', '--silent', '--insecure', '--http2', '--output', '/dev/null',
               '--write-out', '%{http_version} %{http_code}', base_url + '/healthz?' + 'a' * size]
    assert [subprocess.run(command, capture_output=True, text=True).stdout for _ in range(20)] == [answer] * 20


# The document

def test_document(base_url):
    answer = ask(base_url, 'GET', '/openapi.json')
    assert answer.status == 200
    assert answer.headers.get_all('Content-Type') == ['application/json']
    assert answer.body == (HERE.parents[1] / 'src/listing/openapi.json').read_bytes()
    assert ETAG.fullmatch(answer.headers['ETag']) and answer.headers.get_all('Cache-Control') == ['no-cache']
    head = ask(base_url, 'HEAD', '/openapi.json')
    assert (head.status, head.body) == (200, b'')
    for name in ('Content-Length', 'ETag', 'Cache-Control'):
        assert head.headers.get_all(name) == answer.headers.get_all(name)


@pytest.mark.parametrize('method', ['GET', 'HEAD'])
def test_the_document_that_is_there(base_url, method):
    etag = ask(base_url, 'GET', '/openapi.json').headers['ETag']
    answer = ask(base_url, method, '/openapi.json?x', [('If-None-Match', f'"a", W/{etag}')])
    assert (answer.status, answer.body) == (304, b'')
    assert answer.headers.get_all('ETag') == [etag] and answer.headers.get_all('Cache-Control') == ['no-cache']
    assert 'Content-Type' not in answer.headers and 'Content-Length' not in answer.headers
    assert ask(base_url, method, '/openapi.json', [('If-None-Match', '"0123456789abcdef"')]).status == 200


# Golden answers

def golden_cases(name):
    """Returns the golden cases that fit into a target."""
    cases = [pytest.param(case, id=f'{subject}: {number}')
             for subject, cases in GOLDEN[name].items() for number, case in enumerate(cases, 1)
             if len(quote(text_of(case['input']), safe='')) <= MAX_TARGET_BYTES]
    assert len(cases) > 300
    return cases


def query_of(session, name, case):
    return f'{text_of(session)}?{name}={quote(text_of(case["input"]), safe="")}'


def golden_error(error, loc):
    """Returns an error of a golden file as the contract shows it."""
    located = {'type': error['type'], 'loc': loc, 'msg': error['msg'], 'input': text_of(error['input'])}
    return located | ({'ctx': error['ctx']} if 'ctx' in error else {})


def kind(error):
    return error.split(':')[0].split(' in group')[0]


def assert_golden_error(answer, case, error, loc):
    expected = golden_error(error, loc)
    assert answer.status == 422, answer.body[:500]
    if case.get('compare') == 'kind':
        found = json.loads(answer.body)['detail'][0]['ctx']['error']
        assert kind(found) == kind(expected['ctx']['error'])
        expected |= {'msg': f'Input should be a valid UUID, {found}', 'ctx': {'error': found}}
    assert answer.body.decode() == render({'detail': [expected]})


@pytest.mark.parametrize('case', golden_cases('uuid'))
def test_golden_session_id(base_url, case):
    segment = quote(text_of(case['input']), safe='')
    answer = ask(base_url, 'GET', f'/api/v1/workspaces/main/upload_sessions/{segment}/files')
    if '%00' in segment and answer.status == 400:
        assert_detail(answer)
    elif 'error' in case:
        assert_golden_error(answer, case, case['error'], ['path', 'session_id'])
    else:
        assert answer.status == 404
        assert answer.body.decode() == render({'detail': (
            f"There's no session with the ID '{case['value']}' in the workspace. Check if the ID is correct. ")})


@pytest.mark.parametrize('cursor', ['before', 'after'])
@pytest.mark.parametrize('case', golden_cases('uuid'))
def test_golden_cursor(base_url, case, cursor):
    """The cursors that are a uuid are no files of the session, and shown as they were received."""
    answer = ask(base_url, 'GET', query_of('<S>', cursor, case))
    no_file = {'type': 'value_error', 'msg': 'Value error, no file with this ID in the session', 'input': case['input'],
               'ctx': {'error': 'no file with this ID in the session'}}
    assert_golden_error(answer, case, case.get('error', no_file), ['query', cursor])


NEWEST_FIRST = [label for label in sorted(FILES, reverse=True) if label.startswith('f')]


@pytest.mark.parametrize('case', golden_cases('integer'))
def test_golden_limit(base_url, case):
    answer = ask(base_url, 'GET', query_of('<S>', 'limit', case))
    if 'error' in case['limit']:
        assert_golden_error(answer, case, case['limit']['error'], ['query', 'limit'])
    else:
        limit = int(case['limit']['value'])
        assert answer.body.decode() == page_of(' '.join(NEWEST_FIRST[:limit]), limit < 30, 30)


@pytest.mark.parametrize('case', golden_cases('integer'))
def test_golden_page_number(base_url, case):
    answer = ask(base_url, 'GET', query_of('<S>', 'page_number', case))
    if 'error' in case['page_number']:
        assert_golden_error(answer, case, case['page_number']['error'], ['query', 'page_number'])
    else:
        digits = text_of(case['page_number']['value'])
        number = int(digits) if len(digits) < 20 else 10**20
        shown = NEWEST_FIRST[number * 10 - 10:number * 10]
        assert answer.body.decode() == page_of(' '.join(shown), number * 10 < 30, 30)
