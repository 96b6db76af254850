"""Sends requests to a front end byte for byte, and reads what comes back."""

import http.client
import io
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

SECONDS = 30

# A front end under test has a certificate of its own making.
UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


def ask(base_url, method, target, headers=(), body=b''):
    """Returns the answer to one request on a connection of its own."""
    request = make_request(base_url, method, target, [('Connection', 'close'), *headers], body)
    received = exchange(base_url, request)
    answer, rest = parse(received, method)
    assert rest == b'', f'{len(rest)} bytes follow the answer to {method}: {rest[:100]!r}'
    return answer


def make_request(base_url, method, target, headers=(), body=b''):
    """Returns the bytes of a request: text goes out as UTF-8, U+DC80 to U+DCFF as the bytes 80 to FF."""
    headers = [('Host', urlsplit(base_url).netloc), *headers]
    if body and not any(name.lower() == 'transfer-encoding' for name, _ in headers):
        headers.append(('Content-Length', str(len(body))))
    head = f'{method} {target} HTTP/1.1\r\n' + ''.join(f'{name}: {value}\r\n' for name, value in headers) + '\r\n'
    return head.encode('utf-8', 'surrogateescape') + body


def exchange(base_url, request, whole=False):
    """Returns all bytes that the front end sends until it closes the connection. It need not read all of a request that is too large, unless it has to be whole."""
    url = urlsplit(base_url)
    assert url.scheme in ('http', 'https') and url.path in ('', '/'), f'not the URL of a front end: {base_url}'
    connection = socket.create_connection((url.hostname, url.port), timeout=SECONDS)
    if url.scheme == 'https':
        connection = UNVERIFIED.wrap_socket(connection)
    with connection:
        try:
            connection.sendall(request)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            if whole:
                raise
        chunks = []
        while chunk := connection.recv(65536):
            chunks.append(chunk)
    return b''.join(chunks)


def parse(received, method):
    """Returns the first answer in `received` and the bytes after it."""
    stream = io.BytesIO(received)
    response = http.client.HTTPResponse(Reader(stream), method=method)
    response.begin()
    body = response.read()
    return Answer(response.status, response.headers, body), stream.read()


class Reader:
    """What HTTPResponse wants of a socket."""

    def __init__(self, stream):
        self.stream = Unclosed(stream)

    def makefile(self, mode):
        return self.stream


class Unclosed(io.BufferedIOBase):
    """A stream that stays open, and at its place, when HTTPResponse is done with it."""

    def __init__(self, stream):
        self.stream = stream

    def readable(self):
        return True

    def read(self, size=-1):
        return self.stream.read(size)

    def readinto(self, buffer):
        return self.stream.readinto(buffer)

    def readline(self, size=-1):
        return self.stream.readline(size)
