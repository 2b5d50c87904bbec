"""Deadlines and the number of connections, over real sockets; deadlines are short here, by the same code."""

import asyncio
import re
import socket
import threading
import time
from contextlib import closing, contextmanager, suppress
from functools import partial

import pytest
import uvicorn

from deltareg.api.overload import connections, protocol, strict_http
from deltareg.api.overload.connections import ConnectionBook
from deltareg.api.overload.protocol import PatientProtocol
from tests.fixtures.processes import DEADLINE_S, until

ARRIVED: list[object] = []
GOES_ON = threading.Event()
"""The requests for `/until`, and what they wait for."""


async def answering(scope, receive, send):
    """Read the body, if there is any, and say how long it was; wait where the path says so."""
    if scope["type"] != "http":
        return
    await wait_as_asked(scope)
    if scope["path"] == "/unread":
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})
        return
    if scope["path"] == "/parts":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"one ", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})
        return
    size, is_more = 0, True
    while is_more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, is_more = size + len(message["body"]), message.get("more_body", False)
    body = str(size).encode() if scope["path"] != "/large" else bytes(64 << 20)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def wait_as_asked(scope):
    """Wait for as long as the path says, or until a test says so."""
    if scope["path"].startswith("/wait"):
        await asyncio.sleep(float(scope["path"].rpartition("/")[2]))
    if scope["path"] == "/until":
        ARRIVED.append(scope)
        while not GOES_ON.is_set():
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def short_deadlines(monkeypatch):
    """Let the same rules take a twentieth of the time."""
    ARRIVED.clear()
    GOES_ON.clear()
    monkeypatch.setattr(connections, "SWEEP_S", 0.05)
    for name, seconds in {"HEAD_S": 0.3, "RATE_WINDOW_S": 0.4, "UNREAD_S": 0.5, "_CLOSING_S": 0.2}.items():
        monkeypatch.setattr(protocol, name, seconds)


@contextmanager
def served(*, most=1_000, most_of_address=1_000):
    """Serve that app with the protocol; gives the port and the book."""
    book, started, ended = ConnectionBook(most, most_of_address), threading.Event(), threading.Event()
    config = uvicorn.Config(answering, log_config=None, access_log=False, lifespan="off")
    config.load()
    ports, loops = [], []

    async def serve():
        loop = asyncio.get_running_loop()
        state = uvicorn.server.ServerState()
        make = partial(PatientProtocol, config=config, server_state=state, app_state={}, book=book)
        server = await loop.create_server(make, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        loops.append(loop)
        started.set()
        while not ended.is_set():
            await asyncio.sleep(0.01)
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.sleep(0.1)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    started.wait(DEADLINE_S)
    try:
        yield ports[0], book
    finally:
        ended.set()
        thread.join(DEADLINE_S)


def opened(port, data=b""):
    one = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
    one.sendall(data)
    return one


def is_closed_to(one):
    """Send one byte more; tell whether the other side has closed the connection."""
    try:
        one.send(b"x")
    except ConnectionError:
        return True
    return False


def read_all(one):
    got = b""
    with suppress(ConnectionError):
        while part := one.recv(65536):
            got += part
    return got


def head(path="/", *lines):
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: a", *lines, "", ""]).encode()


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("begun", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: a\r\nX: "])
def test_a_head_that_does_not_come_is_not_waited_for(begun):
    with served() as (port, book), closing(opened(port, begun)) as one:
        answer = read_all(one)

        assert answer.startswith(b"HTTP/1.1 408")
        assert b"did not come within" in answer
        assert not len(book)


def test_a_head_that_drips_has_no_longer():
    with served() as (port, _), closing(opened(port, b"GET / HTTP/1.1\r\nX: ")) as one:
        until(lambda: is_closed_to(one), "the server has closed it", pause_s=0.05)


def test_a_second_request_of_a_connection_has_a_deadline_too():
    with served() as (port, _), closing(opened(port, GET)) as one:
        assert answered(one).startswith(b"HTTP/1.1 200")
        one.sendall(b"GET / HT")

        assert read_all(one).startswith(b"HTTP/1.1 408")


def test_a_body_that_drips_is_ended_and_one_that_is_slow_is_taken():
    with served() as (port, _):
        with closing(opened(port, head("/", "Content-Length: 100000"))) as one:
            with suppress(OSError):
                for _ in range(30):
                    one.send(b"x")
                    time.sleep(0.05)
            dripped = read_all(one)
        with closing(opened(port, head("/", "Content-Length: 100000"))) as one:
            for _ in range(10):  # 100 kB/s
                one.sendall(bytes(10_000))
                time.sleep(0.1)
            slow = read_all_of(one)

    assert b"408" in dripped or dripped == b""  # the answer, or the reset of a connection that still sends
    assert slow.startswith(b"HTTP/1.1 200")
    assert slow.endswith(b"100000")


def answered(one):
    """Read an answer to GET: its head, and one byte."""
    got = b""
    while not got.endswith(b"\r\n\r\n0"):
        got += one.recv(1)
    return got


def read_all_of(one):
    """Read the head and the short body of an answer on a connection that stays open."""
    got = b""
    while not got.endswith((b"100000", b"300000")):
        part = one.recv(65536)
        assert part, got
        got += part
    return got


def test_time_in_which_the_server_takes_nothing_is_not_the_clients():
    with served() as (port, _), closing(opened(port, head("/wait/1", "Content-Length: 300000"))) as one:
        one.sendall(bytes(300_000))

        assert read_all_of(one).startswith(b"HTTP/1.1 200")


def test_who_waits_to_be_asked_for_the_body_is_not_slow():
    lines = ("Content-Length: 100000", "Expect: 100-continue")
    with served() as (port, _), closing(opened(port, head("/wait/1", *lines))) as one:
        assert one.recv(1000).startswith(b"HTTP/1.1 100")
        one.sendall(bytes(100_000))

        assert read_all_of(one).startswith(b"HTTP/1.1 200")


def test_an_answer_that_nobody_reads_is_not_kept():
    with served() as (port, book), closing(opened(port, head("/large"))):
        deadline = time.monotonic() + DEADLINE_S
        while not len(book):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        while len(book):
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize("limits", [{"most": 20}, {"most_of_address": 20}])
def test_the_longest_idle_make_room_for_a_newcomer(limits, monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_S", 60)
    with served(**limits) as (port, book):
        held = [opened(port, b"GET / HT") for _ in range(60)]
        with closing(opened(port, GET)) as one:
            assert one.recv(1000).startswith(b"HTTP/1.1 200")
        assert len(book) <= 20
        assert read_all(held[0]) == b""  # the oldest are gone
        for each in held:
            each.close()


def test_work_is_not_closed_for_a_newcomer():
    with served(most=3) as (port, _):
        busy = [opened(port, head("/until", "Content-Length: 0")) for _ in range(3)]
        until(lambda: len(ARRIVED) == 3, "all three are at work")
        with closing(opened(port, GET)) as one:
            refused = read_all(one)
        GOES_ON.set()
        answers = [one.recv(1000) for one in busy]
        for each in busy:
            each.close()

    assert refused.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 5" in refused
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)


def test_requests_one_after_the_other_keep_their_connection():
    with served() as (port, book), closing(opened(port)) as one:
        for _ in range(20):
            one.sendall(GET)
            assert answered(one).startswith(b"HTTP/1.1 200")
        one.sendall(GET * 5)  # in one go
        for _ in range(5):
            assert answered(one).startswith(b"HTTP/1.1 200")
        assert len(book) == 1


def test_what_is_wrong_is_said_behind_the_answers_to_what_was_right():
    with served() as (port, _), closing(opened(port, GET.replace(b"/", b"/wait/0.2", 1) + GET + b"?!\r\n\r\n")) as one:
        answers = read_all(one)

    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"200", b"400"]
    assert answers.endswith(b"}")


def test_a_client_sends_only_so_many_requests_ahead():
    with served() as (port, _), closing(opened(port, GET.replace(b"/", b"/wait/0.2", 1) + GET * 100)) as one:
        answers = read_all(one)

    assert answers.count(b"HTTP/1.1 200") == 1 + strict_http.AHEAD
    assert answers.count(b"HTTP/1.1 400") == 1
    assert b"requests ahead" in answers


def test_an_answer_of_unknown_length_is_told_as_its_reader_knows_it():
    with served() as (port, _):
        with closing(opened(port, b"GET /parts HTTP/1.0\r\n\r\n")) as one:
            old = read_all(one)
        with closing(opened(port, b"GET /parts HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")) as one:
            new = read_all(one)
        with closing(opened(port, b"HEAD /parts HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")) as one:
            bare = read_all(one)

    assert b"transfer-encoding" not in old
    assert old.endswith(b"connection: close\r\n\r\none two")
    assert b"transfer-encoding: chunked\r\n" in new
    assert new.endswith(b"\r\n\r\n4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n")
    assert bare.endswith(b"\r\n\r\n")


def test_a_body_that_was_not_asked_for_is_not_read_as_a_request():
    lines = (f"Content-Length: {len(GET)}", "Expect: 100-continue")
    with served() as (port, _), closing(opened(port, head("/unread", *lines) + GET)) as one:
        answers = read_all(one)

    assert answers.startswith(b"HTTP/1.1 401")
    assert b"connection: close" in answers
    assert answers.count(b"HTTP/1.1") == 1


def test_a_body_that_nobody_reads_is_passed_over():
    with served() as (port, _), closing(opened(port, head("/unread", "Content-Length: 200000"))) as one:
        for _ in range(20):
            one.sendall(bytes(10_000))
        one.sendall(GET)

        assert answered(one).count(b"HTTP/1.1") == 2


def test_who_reads_the_last_answer_slowly_gets_all_of_it():
    with served() as (port, _), closing(opened(port, head("/large", "Connection: close"))) as one:
        size, slow_until = 0, time.monotonic() + 0.6  # thrice what a closing connection has that stands still
        while part := one.recv(1 << 20):
            size += len(part)
            if time.monotonic() < slow_until:
                time.sleep(0.05)

    assert size > 64 << 20
