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

FILE = pathlib.Path(__file__).parents[2] / 'src/listing/openapi.json'
DOCUMENT = json.loads(FILE.read_text(encoding='ascii'))
SCHEMAS = DOCUMENT['components']['schemas']
LISTING, = (path for path in DOCUMENT['paths'] if path.endswith('/files'))
STATUS = LISTING.removesuffix('/files')
GET, HEAD = (DOCUMENT['paths'][LISTING][method] for method in ('get', 'head'))
PARAMETERS = {parameter['name']: parameter for parameter in DOCUMENT['paths'][LISTING]['parameters']}
# What the HTTP servers answer before a request comes to the code here.
OF_SERVERS = {'400', '401', '414', '431'}


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
    """Those of the document are there, with the methods that it has; the rest is not."""
    for path, operations in DOCUMENT['paths'].items():
        methods = [method.upper() for method in operations if method != 'parameters']
        target = path.replace('{', '').replace('}', '')
        for method in ('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'):
            assert (request(db, target, method)[0] == 405) == (method not in methods)
        assert allowed(db, target) == methods
    assert request(db, '/')[0] == 404


def allowed(db, target):
    headers, = db.execute("SELECT headers FROM session_files.handle_request('TRACE', %s)", [target]).fetchone()
    return [header['Allow'] for header in headers if 'Allow' in header][0].split(', ')


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
    for status in ('200', '304'):
        assert HEAD['responses'][status]['headers'] == GET['responses'][status]['headers'] and 'content' not in HEAD['responses'][status]


@pytest.mark.parametrize('path, headers, found', [
    (None, None, '404'),
    (None, None, '405'),
    (None, None, '422'),
    ('/openapi.json', '{}', '200'),
    ('/openapi.json', '{"if-none-match": "*"}', '304'),
    ('/healthz', None, '200'),
])
def test_headers_of_other_answers(db, path, headers, found):
    """Vary, which is on every answer that needs a role, is left out of the document's errors."""
    target = path or LISTING.replace('{workspace_name}', 'w').replace('{session_id}', 'x' if found == '422' else '0197fabc-def0-7abc-9def-0123456789ab')
    method = 'POST' if found == '405' else 'GET'
    status, answered = db.execute('SELECT status, headers FROM session_files.handle_request(%s, %s, %s)', (method, target, headers)).fetchone()
    assert str(status) == found
    answered = {name: value for header in answered for name, value in header.items() if name not in ('Content-Type', 'Vary')}
    response = DOCUMENT['paths'][path or LISTING]['get']['responses'][found]
    if '$ref' in response:
        response = DOCUMENT['components']['responses'][response['$ref'].rsplit('/', 1)[1]]
    documented = response.get('headers', {'Cache-Control': None} if path == '/healthz' else {})
    assert sorted(answered) == sorted(documented)
    for name, header in documented.items():
        schema = DOCUMENT['components']['headers'][header['$ref'].rsplit('/', 1)[1]]['schema'] if header else {}
        assert answered[name] == schema.get('const', answered[name])


def test_statuses(db):
    """Each is one of the code's own, or of the servers before it."""
    for path, own in ((LISTING, {'200', '304', '403', '404', '405', '422', '503'}), (STATUS, {'200', '403', '404', '405', '422', '503'})):
        statuses = set(DOCUMENT['paths'][path]['get']['responses'])
        assert OF_SERVERS < statuses
        assert statuses - OF_SERVERS == own
