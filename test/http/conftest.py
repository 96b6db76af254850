"""The options of the suite: which front ends to test, and the database behind them."""

import psycopg
import pytest


def pytest_addoption(parser):
    parser.addoption('--base-url', action='append', default=[],
                     help='a front end to test, for example http://127.0.0.1:8080; several are tested each, and against the first')
    parser.addoption('--database', help='the database behind the front end, for example dbname=http, for tests that write; without it they are skipped')
    parser.addoption('--allowed-origin', help='an origin whose pages may read answers, one of several; without it the tests of that are skipped')
    parser.addoption('--nginx', action='append', default=[], help='one of these URLs, where nginx is in front')
    parser.addoption('--jwt-secret', help='what the front ends verify tokens with')


def pytest_configure(config):
    if not config.getoption('--base-url') and not config.option.help:
        raise pytest.UsageError('test/http needs a front end to test: pytest test/http --base-url http://127.0.0.1:PORT')


def pytest_ignore_collect(collection_path, config):
    """Leaves out the tests of tokens for front ends whose secret is not known, and those of other origins where none is allowed."""
    needs = {'test_identity.py': '--jwt-secret', 'test_cors.py': '--allowed-origin'}
    return collection_path.name in needs and not config.getoption(needs[collection_path.name]) or None


def pytest_generate_tests(metafunc):
    urls = metafunc.config.getoption('--base-url')
    if 'other_url' in metafunc.fixturenames:
        metafunc.parametrize('base_url, other_url', [(urls[0], other) for other in urls[1:]], ids=str, scope='session')
    elif 'base_url' in metafunc.fixturenames:
        metafunc.parametrize('base_url', urls, scope='session')


@pytest.fixture
def has_nginx(request, base_url):
    return base_url in request.config.getoption('--nginx')


@pytest.fixture
def database(request):
    """Gives a connection to the database behind the front end."""
    conninfo = request.config.getoption('--database')
    if not conninfo:
        pytest.skip('needs --database')
    with psycopg.connect(conninfo, autocommit=True) as connection:
        yield connection
