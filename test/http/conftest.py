"""The option of the suite: which door to test."""

import pytest


def pytest_addoption(parser):
    parser.addoption('--base-url', help='the door to test, for example http://127.0.0.1:8080')


def pytest_configure(config):
    if not config.getoption('--base-url') and not config.option.help:
        raise pytest.UsageError('test/http needs the door to test: pytest test/http --base-url http://127.0.0.1:PORT')


@pytest.fixture(scope='session')
def base_url(request):
    return request.config.getoption('--base-url')
