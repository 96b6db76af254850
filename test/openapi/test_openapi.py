"""Lints the OpenAPI document, and compares what it lists with what the code takes and gives.

Needs a database with the extension, reached by the usual PG* variables, and in LINTER the command that runs the linter
(package.json beside this file). That real answers fit the schemas is tested over HTTP: test/http/test_openapi.py.
"""

import json
import os
import pathlib
import subprocess

import psycopg
import pytest

FILE = pathlib.Path(__file__).parents[2] / 'src' / 'openapi.json'
DOCUMENT = json.loads(FILE.read_text(encoding='ascii'))
SCHEMAS = DOCUMENT['components']['schemas']
LISTING, = (path for path in DOCUMENT['paths'] if path.endswith('/files'))
GET = DOCUMENT['paths'][LISTING]['get']
PARAMETERS = {parameter['name']: parameter for parameter in GET['parameters']}


@pytest.fixture
def db():
    with psycopg.connect(autocommit=True) as connection:
        yield connection


def labels(db, enum):
    return [label for label, in db.execute('SELECT enumlabel FROM pg_enum WHERE enumtypid = %s::regtype', ['session_files.' + enum])]


def request(db, target, method='GET'):
    status, headers, body = db.execute('SELECT status, headers, body FROM session_files.handle_request(%s, %s)', (method, target)).fetchone()
    return status, [name for header in headers for name in header], body


def errors(db, query):
    """Returns the errors of a query in the 422 body."""
    path = LISTING.replace('{workspace_name}', 'w').replace('{session_id}', '0197fabc-def0-7abc-9def-0123456789ab')
    status, _, body = request(db, path + query)
    assert status == 422
    return json.loads(body)['detail']


def test_lint():
    """Not even a warning."""
    environment = os.environ | {'REDOCLY_TELEMETRY': 'off', 'REDOCLY_SUPPRESS_UPDATE_NOTICE': 'true', 'CI': 'true'}
    done = subprocess.run([*os.environ['LINTER'].split(), 'lint', FILE, '--format', 'json'],
                          env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)['problems'] == []


def test_the_file_is_what_is_served(db):
    assert request(db, '/openapi.json')[2] == FILE.read_text(encoding='ascii')


def test_paths(db):
    """Those of the document are there, with the methods that it has and HEAD; the rest is not."""
    for path, operations in DOCUMENT['paths'].items():
        assert list(operations) == ['get']
        target = path.replace('{', '').replace('}', '')
        assert request(db, target, 'HEAD')[0] != 404
        assert request(db, target, 'POST')[0] == 405
    assert request(db, '/')[0] == 404


def test_parameters(db):
    names, = db.execute("SELECT proargnames FROM pg_proc WHERE oid = 'session_files.get_session_files'::regproc").fetchone()
    assert list(PARAMETERS) == [*names, 'If-None-Match']
    assert [name for name, parameter in PARAMETERS.items() if parameter.get('required')] == names[:2]
    assert all((parameter['in'] == 'path') == parameter.get('required', False) for parameter in PARAMETERS.values())
    assert all(parameter['description'] for parameter in PARAMETERS.values())
    # loc has them in the order in which errors are reported.
    query = ''.join(f'&{name}=%00' for name in names[2:])
    reported = [error['loc'][1] for error in errors(db, '?' + query)]
    assert SCHEMAS['ParameterError']['properties']['loc']['prefixItems'][1]['enum'] == ['session_id', *reported]


def test_words(db):
    """Those of a parameter are those that its error names."""
    words = {'ingestion_status': SCHEMAS['IngestionStatus'], 'field': PARAMETERS['field']['schema'], 'order': PARAMETERS['order']['schema']}
    for name, schema in words.items():
        *most, last = (f"'{word}'" for word in schema['enum'])
        assert errors(db, f'?{name}=x')[0]['ctx'] == {'expected': ', '.join(most) + ' or ' + last}


def test_enums(db):
    assert sorted(SCHEMAS['IngestionStatus']['enum']) == labels(db, 'ingestion_status')
    assert sorted(SCHEMAS['IngestionStatusReason']['enum']) == labels(db, 'ingestion_status_reason')


def test_bounds_and_defaults(db):
    limit, page_number = PARAMETERS['limit']['schema'], PARAMETERS['page_number']['schema']
    assert errors(db, '?limit=1000')[0]['ctx'] == {'le': limit['maximum']}
    assert errors(db, '?limit=-1')[0]['ctx'] == {'ge': limit['minimum']}
    assert errors(db, '?page_number=-1')[0]['ctx'] == {'ge': page_number['minimum']}
    with db.transaction(force_rollback=True):
        session, = make_session(db)
        path = LISTING.replace('{workspace_name}', 'w').replace('{session_id}', str(session))
        given = '&'.join(f'{name}={PARAMETERS[name]["schema"]["default"]}' for name in ('limit', 'field', 'order'))
        page = json.loads(request(db, path)[2])
        assert len(page['data']) == limit['default'] and page['has_more']
        assert request(db, path)[2] == request(db, path + '?' + given)[2]


def make_session(db):
    db.execute("SELECT session_files.create_workspace('w')")
    session = db.execute("SELECT session_files.create_session('w')").fetchone()
    db.execute("SELECT session_files.register_files(%s, ARRAY(SELECT 'file ' || n FROM generate_series(1, 100) n))", session)
    return session


def test_headers(db):
    """Those of the answers are those of the document, but for what describes the body."""
    with db.transaction(force_rollback=True):
        session, = make_session(db)
        path = LISTING.replace('{workspace_name}', 'w').replace('{session_id}', str(session))
        _, headers, _ = request(db, path)
        assert sorted(headers) == sorted([*GET['responses']['200']['headers'], 'Content-Type'])
        headers, = db.execute("SELECT headers FROM session_files.handle_request('GET', %s, %s)", (path, '{"if-none-match": "*"}')).fetchone()
        assert sorted(name for header in headers for name in header) == sorted(GET['responses']['304']['headers'])
