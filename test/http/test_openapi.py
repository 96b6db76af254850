"""Validates real answers against the schemas of the document that the front end serves."""

import json

import jsonschema
import pytest

from client import ask
from test_http import all_cases, send, text_of

STATUS = '/api/v1/workspaces/{workspace_name}/upload_sessions/{session_id}'
LISTING = f'{STATUS}/files'


@pytest.fixture(scope='module')
def document(base_url):
    return json.loads(ask(base_url, 'GET', '/openapi.json').body)


def schema_at(document, *keys):
    """Returns the schema at a place in the document, with what it refers to."""
    pointer = '/'.join(key.replace('~', '~0').replace('/', '~1') for key in keys)
    return document | {'$ref': '#/' + pointer}


def response_of(document, path, status):
    """Returns what the document says of a response to GET."""
    response = document['paths'][path]['get']['responses'][status]
    return document['components']['responses'][response['$ref'].rsplit('/', 1)[1]] if '$ref' in response else response


def validate(value, schema):
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(value)


def is_answered(case):
    """Picks the cases that come to the listing or the status, with a method that these have."""
    target = case['target']
    return isinstance(target, str) and target.startswith(('<', '/api/v1/workspaces/main/')) \
        and case.get('status', 200) in (200, 304, 422) and case.get('method', 'GET') == 'GET' and 'or_status' not in case


@pytest.mark.parametrize('case', all_cases(is_answered))
def test_answers(base_url, document, case):
    answer = send(base_url, case)
    path = text_of(case['target']).partition('?')[0]
    response = response_of(document, LISTING if path.endswith('iles') else STATUS, str(answer.status))
    if answer.status == 304:
        assert answer.body == b'' and 'content' not in response
    else:
        validate(json.loads(answer.body), document | response['content']['application/json']['schema'])
    for name, header in response.get('headers', {}).items():
        if name != 'Link' or name in answer.headers:
            assert name in answer.headers
            validate(answer.headers[name], schema_at(document, *header['$ref'][2:].split('/'), 'schema'))


@pytest.mark.parametrize('status, method, target, headers', [
    ('404', 'GET', '/api/v1/workspaces/main/upload_sessions/0197fabc-def0-7abc-9def-000000000000/files', []),
    ('404', 'GET', '/x', []),
    ('405', 'POST', '<S>', []),
    ('400', 'GET', '<S>', [('Host', 'another')]),
    ('401', 'GET', '<S>', [('Authorization', 'Bearer x')]),
    ('414', 'GET', ['<S>?x=', ['a', 9000]], []),
    ('431', 'GET', '<S>', [('X', 'a' * 9000)]),
])
def test_refusals(base_url, document, status, method, target, headers):
    answer = ask(base_url, method, text_of(target), headers)
    assert str(answer.status) == status
    validate(json.loads(answer.body), schema_at(document, 'components', 'schemas', 'Refusal'))
    for name, header in response_of(document, LISTING, status)['headers'].items():
        assert name in answer.headers
        validate(answer.headers[name], schema_at(document, *header['$ref'][2:].split('/'), 'schema'))


def test_health(base_url, document):
    validate(json.loads(ask(base_url, 'GET', '/healthz').body), schema_at(document, 'components', 'schemas', 'Health'))


def test_the_schemas_refuse_something(document):
    page = schema_at(document, 'components', 'schemas', 'Page')
    good = {'data': [], 'has_more': False, 'total': 0}
    validate(good, page)
    for wrong in ({}, good | {'total': -1}, good | {'x': 1}, good | {'data': [{'name': 'a'}]}):
        with pytest.raises(jsonschema.ValidationError):
            validate(wrong, page)
