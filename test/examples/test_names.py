"""The names of examples/folder.py: each path has one, which leads back to it, and no other name does."""

import os
import random
import sys

import pytest
from conftest import EXAMPLES

sys.path.insert(0, str(EXAMPLES))
from folder import check_length, name_of, path_of, shown    # noqa: E402

# What is near an escape, or is UTF-8 in part.
PIECES = [b'\\', b'\\\\', b'x', b'\\x', b'e9', b'\xe9', 'é'.encode(), '☂'.encode(), '🎉'.encode()[:3], b'\xed\xa0\x80', b'\xc0\xaf', b'/', b'a', b'.', b'\n']


def random_path(generator):
    if generator.random() < 0.5:
        return generator.randbytes(generator.randrange(1, 20))
    return b''.join(generator.choices(PIECES, k=generator.randrange(1, 8)))


def is_path(path):
    return b'\0' not in path and all(component not in (b'', b'.', b'..') for component in path.split(b'/'))


def test_each_path_has_a_name_that_leads_back():
    seed = int(os.environ.get('EXAMPLES_SEED', random.randrange(1 << 32)))
    print(f'EXAMPLES_SEED={seed}')
    generator = random.Random(seed)
    names = {}
    for _ in range(20000):
        path = random_path(generator)
        name = name_of(path)
        name.encode()    # is text that a database takes
        assert path_of(name) == (path if is_path(path) else None)
        assert names.setdefault(name, path) == path


def test_each_name_leads_to_one_path_or_none():
    generator = random.Random(0)
    texts = ['\\', '\\\\', '\\x', 'x', 'e9', 'E9', '\\xe9', '\\xE9', '\\xc3\\xa9', 'é', '\\x41', '/', '.', '☂', '\0']
    for _ in range(20000):
        name = ''.join(generator.choices(texts, k=generator.randrange(1, 8)))
        path = path_of(name)
        assert path is None or (is_path(path) and name_of(path) == name)


@pytest.mark.parametrize('path, name', [
    (b'\xe9', r'\xe9'), (rb'\xe9', r'\\xe9'), (b'\xe9\\xe9', r'\xe9\\xe9'), ('☂'.encode(), '☂'), (b'a/b', 'a/b'), (rb'C:\n', r'C:\\n')])
def test_names(path, name):
    assert (name_of(path), path_of(name)) == (name, path)


@pytest.mark.parametrize('name', ['', '.', '..', '/etc', 'a//b', 'a/', 'a/./b', '../a', r'\x41', r'\xc3\xa9', r'\xE9', r'\x', r'\y', '\\', r'\x2fetc', 'a\0b'])
def test_what_is_no_name(name):
    assert path_of(name) is None


def test_long_names():
    assert check_length('☂' * 830)
    assert check_length('x' * 2600)
    with pytest.raises(OSError):
        check_length('x' * 2601)


def test_names_do_not_rule_the_terminal():
    assert shown('a\x1b[2Jb\nc\u202e☂') == r'a\x1b[2Jb\nc\u202e☂'
