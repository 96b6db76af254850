"""Compares a front end with the first one: the same request must get the same answer, to the byte, from every front end of a database."""

import pytest

from client import ask
from test_http import all_cases, send, text_of

# What a server says of itself and of the connection is its own business.
COMPARED = ['Access-Control-Allow-Origin', 'Access-Control-Expose-Headers', 'Allow', 'Cache-Control', 'Content-Type', 'ETag', 'Link', 'Retry-After',
            'Session-Expires-At', 'Vary', 'WWW-Authenticate']


def content(answer):
    return answer.status, {name: answer.headers.get_all(name) for name in COMPARED}, answer.body


def is_comparable(case):
    """A front end may refuse some targets before it looks at them, each in its own way."""
    return 'or_status' not in case and not case.get('any_body')


@pytest.mark.parametrize('method', ['GET', 'HEAD'])
@pytest.mark.parametrize('case', all_cases(lambda case: is_comparable(case) and 'method' not in case))
def test_same_answer(base_url, other_url, case, method):
    assert content(send(other_url, case, method)) == content(send(base_url, case, method))


@pytest.mark.parametrize('case', all_cases(lambda case: is_comparable(case) and 'method' in case))
def test_same_refusal(base_url, other_url, case):
    assert content(send(other_url, case)) == content(send(base_url, case))


@pytest.mark.parametrize('authorization', ['Bearer x', 'Bearer ', 'bearer a.b.c', 'Basic dXNlcjpwYXNz', 'Bearer', ''])
def test_same_answer_to_a_token(base_url, other_url, authorization):
    """What is wrong with a token is said in the words of who found it."""
    def outcome(url):
        answer = ask(url, 'GET', text_of('<S>?limit=1'), [('Authorization', authorization)])
        return answer.status, answer.body, (answer.headers.get('WWW-Authenticate') or '').split(' ')[0], answer.headers.get_all('Cache-Control'), \
            answer.headers.get_all('Vary')

    assert outcome(other_url) == outcome(base_url)
