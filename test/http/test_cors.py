"""What pages of other origins may read: --allowed-origin is one of several origins in session_files.http_allow_origin."""

import pytest

from client import ask
from test_http import text_of

LISTING = text_of('<S>?limit=1')
# A token that is wrong, no session, no path, no method, a parameter, and what is too large for a front end.
ERRORS = [
    (401, 'GET', LISTING, [('Authorization', 'Bearer x')]),
    (404, 'GET', '/api/v1/workspaces/main/upload_sessions/0197fabc-def0-7abc-9def-000000000000/files', []),
    (404, 'GET', '/x', []),
    (405, 'POST', LISTING, []),
    (405, 'OPTIONS', LISTING, []),
    (422, 'GET', LISTING + '&limit=x', []),
    (414, 'GET', text_of(['<S>?x=', ['a', 9000]]), []),
]
OTHERS = ['https://evil.example.org', 'null', 'HTTPS://APP.EXAMPLE.ORG', 'https://app.example.org:444', 'https://app.example.org.evil.example.org',
          'https://app.example.or', 'https://app.example.org, https://evil.example.org', '*', ',', 'https://app.example.org\xe9']


@pytest.fixture(scope='module')
def origin(request):
    return request.config.getoption('--allowed-origin')


def headers_of_cors(answer):
    return {name: value for name, value in answer.headers.items() if name.lower().startswith('access-control-')}


def readable_by(origin):
    return {'Access-Control-Allow-Origin': origin, 'Access-Control-Expose-Headers': 'ETag, Link, Session-Expires-At'}


def vary_of(answer):
    assert len(answer.headers.get_all('Vary', [])) <= 1
    return answer.headers.get('Vary', '').split(', ')


@pytest.mark.parametrize('target', [LISTING, '/healthz', '/openapi.json'])
@pytest.mark.parametrize('known', [False, True])
def test_a_page_may_read_an_answer(base_url, origin, target, known):
    answer = ask(base_url, 'GET', target, [('Origin', origin)] + ([('If-None-Match', '*')] if known else []))
    assert answer.status == (304 if known and target != '/healthz' else 200)
    assert headers_of_cors(answer) == readable_by(origin)
    assert vary_of(answer)[-1] == 'Origin'


@pytest.mark.parametrize('status, method, target, headers', ERRORS)
def test_a_page_may_read_an_error(base_url, origin, has_nginx, status, method, target, headers):
    answer = ask(base_url, method, target, [('Origin', origin), *headers])
    assert answer.status == status
    # Of a line that it refuses, nginx has not read the headers.
    assert headers_of_cors(answer) == ({} if has_nginx and status == 414 else readable_by(origin))
    assert answer.headers.get_all('Cache-Control') == ['no-store']
    assert 'Origin' in vary_of(answer)


@pytest.mark.parametrize('other', OTHERS)
def test_pages_of_others_may_not(base_url, other):
    for status, method, target, headers in [(200, 'GET', LISTING, []), *ERRORS]:
        answer = ask(base_url, method, target, [('Origin', other), *headers])
        assert answer.status == status
        assert headers_of_cors(answer) == {}
        assert 'Origin' in vary_of(answer)
    answer = ask(base_url, 'OPTIONS', LISTING, [('Origin', other), ('Access-Control-Request-Method', 'GET')])
    assert answer.status == 405 and headers_of_cors(answer) == {}


def test_without_an_origin(base_url):
    answer = ask(base_url, 'GET', LISTING)
    assert headers_of_cors(answer) == {} and vary_of(answer) == ['Authorization', 'Origin']


@pytest.mark.parametrize('target', [LISTING, '/healthz', '/%68ealthz', '/openapi.json?x'])
@pytest.mark.parametrize('method', ['GET', 'DELETE'])
def test_preflight(base_url, origin, target, method):
    """It comes without a token, and is about all methods of the path."""
    answer = ask(base_url, 'OPTIONS', target, [('Origin', origin), ('Access-Control-Request-Method', method),
                                               ('Access-Control-Request-Headers', 'authorization,if-none-match')])
    assert (answer.status, answer.body) == (204, b'')
    assert headers_of_cors(answer) == {
        **readable_by(origin),
        'Access-Control-Allow-Methods': 'GET, HEAD', 'Access-Control-Allow-Headers': 'Authorization, If-None-Match, Content-Type',
        'Access-Control-Max-Age': '7200'}
    assert vary_of(answer) == ['Origin']
    for name in ('Content-Type', 'Content-Length', 'Allow'):
        assert name not in answer.headers


def test_preflight_of_no_path(base_url, origin):
    answer = ask(base_url, 'OPTIONS', '/x', [('Origin', origin), ('Access-Control-Request-Method', 'GET')])
    assert answer.status == 404 and answer.headers['Access-Control-Allow-Origin'] == origin
