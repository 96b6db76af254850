"""src/http/token.c, built under AddressSanitizer (which also looks for leaks) and UBSan."""

import os
import pathlib
import subprocess

import pytest

HERE = pathlib.Path(__file__).parent
SOURCES = HERE.parent.parent / 'src'
OPTIONS = ['-std=gnu99', '-g', '-O1', '-Wall', '-Wextra', '-Werror', '-fsanitize=address,undefined', '-fno-sanitize-recover=all',
           *os.environ.get('TOKEN_CFLAGS', '').split()]


@pytest.fixture(scope='session')
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp('token') / 'token_check'
    subprocess.run(['gcc', *OPTIONS, f'-I{SOURCES}', '-o', path, HERE / 'token_check.c', SOURCES / 'http/token.c', '-lcjose', '-ljansson'],
                   check=True)
    return path


@pytest.fixture(scope='session')
def check(program):
    """Returns what the program prints for a token, in lines."""
    def run(token, secret='', jwk_set='', audience='', now=0):
        if isinstance(token, str):
            token = token.encode()
        environment = os.environ | {'ASAN_OPTIONS': 'detect_leaks=1'}
        done = subprocess.run([program, secret, jwk_set, audience, str(now)], input=token, capture_output=True, env=environment)
        assert (done.returncode, done.stderr) == (0, b'')
        return done.stdout.decode().splitlines()
    return run
