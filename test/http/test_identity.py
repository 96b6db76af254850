"""Whose a request is: the same tokens, roles and grants at every front end.

Needs --database, to make roles, and --jwt-secret, with which the front ends verify tokens; the front ends' authenticator is session_files_authenticator.
"""

import base64
import hashlib
import hmac
import json
import time
from urllib.parse import quote

import psycopg
import pytest

from client import ask

WORKSPACE = 'identity ü'
SESSION = '0197fabc-def0-7abc-9def-0123456789f0'
TARGET = f'/api/v1/workspaces/{quote(WORKSPACE)}/upload_sessions/{SESSION}/files'
NO_SESSION = {'detail': f"There's no session with the ID '{SESSION}' in the workspace. Check if the ID is correct. "}
PAGE = {'data': [], 'has_more': False, 'total': 0}

SETUP = '''
    CREATE ROLE http_reader;      -- sees the workspace
    CREATE ROLE http_member;      -- the same, as a member of it
    CREATE ROLE http_worker;      -- the same, by a grant of another kind
    CREATE ROLE http_tenant;      -- sees it when its token says so
    CREATE ROLE http_stranger;    -- sees nothing
    CREATE ROLE http_ungranted;   -- is not for the front ends
    GRANT http_reader TO http_member;
    GRANT http_reader, http_member, http_worker, http_tenant, http_stranger TO session_files_authenticator;
    GRANT SELECT ON session_files.upload_sessions TO http_tenant;
    SELECT session_files.create_workspace(%(workspace)s);
    INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES (%(session)s, %(workspace)s);
    SELECT session_files.grant_workspace('http_reader', %(workspace)s);
    SELECT session_files.grant_workspace('http_worker', %(workspace)s, 'worker');
    SELECT session_files.grant_workspace('http_tenant', %(workspace)s);
    SELECT session_files.grant_workspace('http_ungranted', %(workspace)s);
    CREATE POLICY http_tenant ON session_files.upload_sessions AS RESTRICTIVE TO http_tenant
        USING (workspace_name = current_setting('request.jwt.claims', true)::json ->> 'workspace'
            AND current_setting('request.method', true) IS NOT NULL
            AND current_setting('request.headers', true)::json ->> 'authorization' LIKE 'Bearer %%');
'''
TEARDOWN = '''
    DROP POLICY http_tenant ON session_files.upload_sessions;
    DELETE FROM session_files.upload_sessions WHERE session_id = %(session)s;
    DELETE FROM session_files.workspaces WHERE name = %(workspace)s;
'''
ROLES = ['http_reader', 'http_member', 'http_worker', 'http_tenant', 'http_stranger', 'http_ungranted']


def run(connection, script):
    for statement in script.split(';\n'):
        if statement.strip():
            connection.execute(statement, {'workspace': WORKSPACE, 'session': SESSION})


@pytest.fixture(scope='module', autouse=True)
def roles(request):
    with psycopg.connect(request.config.getoption('--database'), autocommit=True) as connection:
        run(connection, SETUP)
        yield
        run(connection, TEARDOWN)
        for role in ROLES:
            connection.execute(f'DROP OWNED BY {role}')
            connection.execute(f'DROP ROLE {role}')


@pytest.fixture(scope='module')
def secret(request):
    return request.config.getoption('--jwt-secret')


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=').decode()


def make_token(secret, claims, algorithm='HS256', digest=hashlib.sha256):
    head = encode(json.dumps({'alg': algorithm, 'typ': 'JWT'}).encode()) + '.' + encode(json.dumps(claims).encode())
    return f'{head}.{encode(hmac.new(secret.encode(), head.encode(), digest).digest())}'


def ask_as(base_url, token, target=TARGET, headers=()):
    authorization = [('Authorization', f'Bearer {token}')] if token is not None else []
    return ask(base_url, 'GET', target, [*authorization, *headers])


def assert_answer(answer, status, body):
    assert (answer.status, json.loads(answer.body)) == (status, body)


def test_a_request_without_a_token_sees_what_is_granted_to_nobody(base_url):
    assert_answer(ask_as(base_url, None), 404, NO_SESSION)


@pytest.mark.parametrize('role, status, body', [
    ('http_reader', 200, PAGE),
    ('http_member', 200, PAGE),
    ('http_worker', 200, PAGE),
    ('http_stranger', 404, NO_SESSION),
    ('http_tenant', 404, NO_SESSION),
    ('http_ungranted', 403, {'detail': 'Forbidden'}),
    ('session_files_anonymous', 404, NO_SESSION),
    ('postgres', 403, {'detail': 'Forbidden'}),
    ('http_nobody', 403, {'detail': 'Forbidden'}),
])
def test_the_role_is_that_of_the_token(base_url, secret, role, status, body):
    assert_answer(ask_as(base_url, make_token(secret, {'role': role, 'exp': time.time() + 600})), status, body)


def test_a_token_without_a_role_is_anonymous(base_url, secret):
    assert_answer(ask_as(base_url, make_token(secret, {'sub': 'unknown'})), 404, NO_SESSION)


@pytest.mark.parametrize('workspace, status, body', [(WORKSPACE, 200, PAGE), ('another', 404, NO_SESSION), (None, 404, NO_SESSION)])
def test_policies_see_the_claims(base_url, secret, workspace, status, body):
    assert_answer(ask_as(base_url, make_token(secret, {'role': 'http_tenant', 'workspace': workspace})), status, body)


def test_a_version_is_nothing_to_those_without_access(base_url, secret):
    reader, stranger = (make_token(secret, {'role': role}) for role in ('http_reader', 'http_stranger'))
    known = [('If-None-Match', ask_as(base_url, reader).headers['ETag'])]
    assert ask_as(base_url, reader, headers=known).status == 304
    assert_answer(ask_as(base_url, stranger, headers=known), 404, NO_SESSION)
    assert_answer(ask_as(base_url, stranger, headers=[('If-None-Match', '*')]), 404, NO_SESSION)


def test_a_foreign_session_is_answered_as_one_that_is_not_there(base_url, secret):
    stranger = make_token(secret, {'role': 'http_stranger'})
    missing = TARGET.replace(SESSION, SESSION[:-1] + '1')
    for query in ('', '?limit=x', f'?after={SESSION}', '?page_number=7', f'?before={SESSION}&ingestion_status=FAILED'):
        there, gone = (ask_as(base_url, stranger, target + query) for target in (TARGET, missing))
        assert (there.status, there.body.replace(SESSION.encode(), b'')) == (
            gone.status, gone.body.replace(SESSION[:-1].encode() + b'1', b'').replace(SESSION.encode(), b''))


WRONG = {
    'expired': lambda secret: make_token(secret, {'role': 'http_reader', 'exp': time.time() - 3600}),
    'not yet valid': lambda secret: make_token(secret, {'role': 'http_reader', 'nbf': time.time() + 3600}),
    'issued in the future': lambda secret: make_token(secret, {'role': 'http_reader', 'iat': time.time() + 3600}),
    'signed by another': lambda secret: make_token('x' * 32, {'role': 'http_reader'}),
    'not signed': lambda secret: make_token(secret, {'role': 'http_reader'}, algorithm='none').rsplit('.', 1)[0] + '.',
    'none, with a signature': lambda secret: make_token(secret, {'role': 'http_reader'}, algorithm='none'),
    'another algorithm': lambda secret: make_token(secret, {'role': 'http_reader'}, algorithm='RS256'),
    'changed': lambda secret: make_token(secret, {'role': 'http_reader'})[:-4] + 'AAAA',
    'cut': lambda secret: make_token(secret, {'role': 'http_reader'}).rsplit('.', 1)[0],
    'claims that are no object': lambda secret: make_token(secret, ['http_reader']),
    'no token at all': lambda secret: 'x',
}


@pytest.mark.parametrize('kind', WRONG)
def test_a_wrong_token_is_refused(base_url, secret, kind):
    answer = ask_as(base_url, WRONG[kind](secret))
    assert_answer(answer, 401, {'detail': 'Unauthorized'})
    challenge = answer.headers.get_all('WWW-Authenticate')
    assert len(challenge) == 1 and challenge[0].startswith('Bearer')


def test_a_role_does_not_last(base_url, secret):
    """Roles do not last: on one worker or another, each request has its own."""
    reader = make_token(secret, {'role': 'http_reader'})
    for _ in range(20):
        assert_answer(ask_as(base_url, reader), 200, PAGE)
        assert_answer(ask_as(base_url, None), 404, NO_SESSION)
