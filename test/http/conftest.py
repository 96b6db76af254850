"""The options of the suite: which door to test, and the database behind it."""

import pytest


def pytest_addoption(parser):
    parser.addoption('--base-url', help='the door to test, for example http://127.0.0.1:8080')
    parser.addoption('--database', help='the database behind the door, for example dbname=door, for tests that write; without it they are skipped')


def pytest_configure(config):
    if not config.getoption('--base-url') and not config.option.help:
        raise pytest.UsageError('test/http needs the door to test: pytest test/http --base-url http://127.0.0.1:PORT')


@pytest.fixture(scope='session')
def base_url(request):
    return request.config.getoption('--base-url')


@pytest.fixture
def database(request):
    """Gives a connection to the database behind the door."""
    conninfo = request.config.getoption('--database')
    if not conninfo:
        pytest.skip('needs --database')
    with pytest.importorskip('psycopg').connect(conninfo, autocommit=True) as connection:
        yield connection
