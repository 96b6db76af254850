#!/usr/bin/env python3
"""Clients of the HTTP server for the tests beside it: http_clients.py ROLE PORT ...

load PORT TARGET CONNECTIONS DOWNTIME
                             asks for a target over and over until SIGTERM, then prints each answer that came, "STATUS BODY", a tab and how
                             often. With DOWNTIME 1 a connection may be refused or end without an answer: then it is opened again.
slow PORT CONNECTIONS        opens connections that each send a byte of a request a second; prints "open N" when all of them are open, and
                             "ended N" when the server has ended all of them.
vanish PORT TARGET ROUNDS    clients that are gone in the middle of a request or of an answer, in turns by a reset and a half close.
large PORT SIZE              a request with a header of this size; prints the status that could be read.
storm PORT TARGET COUNT AT_ONCE
                             opens so many connections, so many of them at a time: idle ones, some with half a head, some that are reset, some
                             that never read their answers, some with one answer; and 2 s later ends them all at once. Prints "stormed COUNT".
trickle PORT TARGET RATE      asks for a target and reads the answer with so many bytes per second; prints "STATUS read" if it came whole,
                             or "STATUS cut" if the server ends it.
watch PORT TARGET            asks for a target on a connection of its own once a second until SIGTERM, then prints how often it got a 200, another
                             status or none, a tab between them, and the longest time between two answers, in ms.
corpus PORT FILE TARGET PID  sends each request of a corpus, and prints what is wrong with what comes back; a line per case, then "done N".
"""

import collections
import json
import os
import re
import selectors
import signal
import socket
import struct
import sys
import threading
import time

SECONDS = int(os.environ.get('HTTP_SECONDS', 60))
ADDRESS = '127.0.0.1'

# How long a storm keeps its connections open, in s.
HELD = 2


def dial(port):
    return socket.create_connection((ADDRESS, port), timeout=SECONDS)


def request(target, *headers):
    return '\r\n'.join([f'GET {target} HTTP/1.1', 'Host: test', *headers, '', '']).encode()


def read_answer(connection, received=b''):
    """Returns status, body and the bytes that follow; raises EOFError if the connection ends before."""
    while True:
        head, end, rest = received.partition(b'\r\n\r\n')
        if end:
            status = int(head.split(b' ', 2)[1])
            length = re.search(rb'(?im)^content-length: *(\d+)', head)
            length = int(length[1]) if length and status not in (100, 304) else 0
            if len(rest) >= length:
                return status, rest[:length], rest[length:]
        chunk = connection.recv(65536)
        if not chunk:
            raise EOFError(f'{len(received)} bytes, then the end')
        received += chunk


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    connection.close()


class Load:
    def __init__(self, port, target, connections, downtime):
        self.port, self.target, self.downtime = port, target, downtime
        self.seen = collections.Counter()
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self.guard) for _ in range(connections)]

    def run(self):
        signal.signal(signal.SIGTERM, lambda *_: self.ended.set())
        for thread in self.threads:
            thread.start()
        while not self.ended.wait(0.1):
            pass
        for thread in self.threads:
            thread.join()
        for answer, count in self.seen.items():
            print(f'{answer}\t{count}')

    def count(self, what):
        with self.lock:
            self.seen[what] += 1

    def guard(self):
        try:
            while not self.ended.is_set():
                self.ask_until_the_end()
        except Exception as error:    # pylint: disable=broad-except
            self.count(f'{type(error).__name__}: {error}')

    def ask_until_the_end(self):
        """Asks on one connection, until the server closes it."""
        try:
            connection = dial(self.port)
        except OSError:
            if not self.downtime:
                raise
            time.sleep(0.02)
            return
        self.count('connections')
        with connection:
            while not self.ended.is_set():
                try:
                    connection.sendall(request(self.target))
                    status, body, rest = read_answer(connection)
                except (EOFError, ConnectionError):
                    if not self.downtime:
                        raise
                    return
                if rest:
                    raise ValueError(f'{len(rest)} bytes too many')
                self.count(f'{status} {body.decode()}')


def slow(port, connections):
    """All in one thread: a byte to each in turns."""
    opened = []
    for _ in range(connections):
        opened.append(dial(port))
    print(f'open {connections}', flush=True)
    text = request('/', 'X: ' + 'x' * 2000)
    ended, place = 0, 0
    selector = selectors.DefaultSelector()
    for connection in opened:
        selector.register(connection, selectors.EVENT_READ)
    while ended < connections:
        for key in list(selector.get_map().values()):
            try:
                key.fileobj.send(text[place:place + 1])
            except OSError:
                pass    # seen below
        place += 1
        until = time.monotonic() + 1
        while (left := until - time.monotonic()) > 0 and ended < connections:
            for key, _ in selector.select(left):
                try:
                    received = key.fileobj.recv(1000)
                except ConnectionError:
                    received = b''
                assert not received, received
                selector.unregister(key.fileobj)
                key.fileobj.close()
                ended += 1
    print(f'ended {ended}', flush=True)


def vanish(port, target, rounds):
    whole, left = request(target), []
    for number in range(rounds):
        connection = dial(port)
        match number % 8:
            case 0:    # in the middle of a request line, and of a head
                connection.sendall(whole[:20])
                reset(connection)
            case 1:
                connection.sendall(whole[:-2])
                reset(connection)
            case 2:    # before the answer, or in the middle of it
                connection.sendall(whole)
                reset(connection)
            case 3:    # in the middle of many answers, none of which is read
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.sendall(whole * 50)
                connection.recv(10)
                reset(connection)
            case 4:    # in the middle of a body
                connection.sendall(b'GET / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\nabc')
                reset(connection)
            case 5:    # sends nothing more, and still reads
                connection.sendall(whole)
                connection.shutdown(socket.SHUT_WR)
                status = read_answer(connection)[0]
                assert status == 200, status
                connection.close()
            case 6:    # the same, but the server closes first
                connection.sendall(whole * 2)
                connection.shutdown(socket.SHUT_WR)
                left.append(connection)
            case 7:    # half a request, and nothing more
                connection.sendall(whole[:-2])
                connection.shutdown(socket.SHUT_WR)
                left.append(connection)
    for connection in left:
        while connection.recv(65536):
            pass
    print(f'vanished {rounds}')


def throw_one(port, target, number):
    """Opens a connection of one of the kinds, and returns it, or None if it has ended."""
    connection = socket.socket()
    # Before it connects, so that the server is told of little room.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(SECONDS)
    try:
        connection.connect((ADDRESS, port))
        match number % 5:
            case 1:
                connection.sendall(request(target)[:-5])
            case 2:
                connection.sendall(request(target))
                reset(connection)
                return None
            case 3:
                connection.sendall(request(target))
            case 4:
                connection.sendall(request('/healthz'))
    except ConnectionError:    # it had to make room
        connection.close()
        return None
    return connection


def storm(port, target, count, at_once):
    opened = []
    for number in range(count):
        if (connection := throw_one(port, target, number)) is not None:
            opened.append(connection)
        if len(opened) == at_once or number == count - 1:
            time.sleep(HELD)
            for connection in opened:
                connection.close()
            opened = []
    print(f'stormed {count}', flush=True)


def trickle(port, target, rate):
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(SECONDS)
    connection.connect((ADDRESS, port))
    connection.sendall(request(target))
    received = b''
    try:
        while chunk := connection.recv(max(rate // 20, 1)):
            received += chunk
            head, end, body = received.partition(b'\r\n\r\n')
            length = re.search(rb'(?im)^content-length: *(\d+)', head)
            if end and length and len(body) >= int(length[1]):
                print(head.split(b' ', 2)[1].decode(), 'read')
                return
            time.sleep(len(chunk) / rate)
    except ConnectionError:
        pass
    print(received.split(b' ', 2)[1].decode(), 'cut')


def watch(port, target):
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    seen, longest, last = collections.Counter(), 0, time.monotonic()
    while not ended.is_set():
        try:
            with dial(port) as connection:
                connection.sendall(request(target, 'Connection: close'))
                status = read_answer(connection)[0]
        except (OSError, EOFError):
            status = 0
        seen['good' if status == 200 else 'other' if status else 'none'] += 1
        now = time.monotonic()
        if status:
            longest, last = max(longest, now - last), now
        ended.wait(1)
    print(seen['good'], seen['other'], seen['none'], int(longest * 1000), sep='\t')


def large(port, size):
    with dial(port) as connection:
        try:
            connection.sendall(request('/', 'X: ' + 'x' * size))
        except ConnectionError:
            pass
        received = b''
        while chunk := connection.recv(65536):
            received += chunk
        print(received.split(b' ')[1].decode())


def raw_of(parts):
    """Returns the bytes of a text, or of a list of texts and of [text, repeats]; characters are bytes, as in Latin 1."""
    if isinstance(parts, str):
        parts = [parts]
    return b''.join(part.encode('latin-1') if isinstance(part, str) else part[0].encode('latin-1') * part[1] for part in parts)


class Corpus:
    def __init__(self, port, target, pid):
        self.port, self.target, self.pid = port, target, pid
        self.page = self.listing()

    def listing(self):
        with dial(self.port) as connection:
            connection.sendall(request(self.target, 'Connection: close'))
            status, body, _ = read_answer(connection)
            assert status == 200, status
            return body

    def answers(self, raw, half_close):
        """Sends bytes; returns the answers until the connection ends, each a status and a body; the last may be what is no answer."""
        answers, rest = [], b''
        with dial(self.port) as connection:
            try:
                connection.sendall(raw)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
            except ConnectionError:
                pass
            while True:
                try:
                    status, body, rest = read_answer(connection, rest)
                except (EOFError, ConnectionError):
                    return answers + ([(-3, 'half an answer')] if rest else [])
                except TimeoutError:
                    return answers + [(-2, 'the connection stays open')]
                except (ValueError, IndexError) as error:
                    return answers + [(-1, f'not an answer: {error}')]
                answers.append((status, body))

    def check(self, case):
        """Returns what is wrong with the answers to a case, or None. `may` has the sequences of statuses that are right."""
        raw = raw_of(case['raw']).replace(b'<target>', self.target.encode())
        answers = self.answers(raw, case.get('half_close', True))
        statuses = ' '.join(str(status) for status, _ in answers)
        if any(body.startswith(b'HTTP/') for _, body in answers if isinstance(body, bytes)):
            return f'a head within a body: {answers}'
        if statuses not in case['may']:
            return f'{statuses!r} instead of {case["may"]}'
        if any(status == 200 and body != self.page and not body.startswith(b'# HELP') and b'HEAD' not in raw for status, body in answers):
            return 'another body'
        os.kill(self.pid, 0)
        if self.listing() != self.page:
            return 'the next request has another body'
        return None


def corpus(port, file, target, pid):
    with open(file, encoding='ascii') as stream:
        cases = json.load(stream)['cases']
    run = Corpus(port, target, pid)
    for case in cases:
        wrong = run.check(case)
        print(f'{"wrong" if wrong else "right"}\t{case["name"]}\t{wrong or ""}', flush=True)
    print(f'done\t{len(cases)}')


def main(role, port, *rest):
    port = int(port)
    match role:
        case 'load':
            Load(port, rest[0], int(rest[1]), rest[2] == '1').run()
        case 'slow':
            slow(port, int(rest[0]))
        case 'vanish':
            vanish(port, rest[0], int(rest[1]))
        case 'storm':
            storm(port, rest[0], int(rest[1]), int(rest[2]))
        case 'trickle':
            trickle(port, rest[0], int(rest[1]))
        case 'watch':
            watch(port, rest[0])
        case 'large':
            large(port, int(rest[0]))
        case 'corpus':
            corpus(port, rest[0], rest[1], int(rest[2]))


if __name__ == '__main__':
    main(*sys.argv[1:])
