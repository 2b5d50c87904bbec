"""A server that means no good: what it sends is bounded, and it sends nobody elsewhere."""

import gzip
import http.server
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
import pytest

from deltareg.client import Client, ClientConfig
from deltareg.client.http import api, bounds
from deltareg.client.http.api import Api
from deltareg.errors import InvalidInput, Unavailable
from deltareg.wire import Page, VersionDetail

MIB = 1 << 20
CHUNK = b"10000\r\n" + b" " * 0x10000 + b"\r\n"


@dataclass
class Hostile:
    """A server whose answers a test writes, byte by byte.

    Attributes:
        url: Where it is.
        answer: Writes the answer to a request: takes the handler.
        got: The requests that came, each with its headers.
    """

    url: str = ""
    answer: Callable[..., None] = print
    got: list = field(default_factory=list)


@pytest.fixture
def serving():
    """Give a function that starts a hostile server."""
    servers, over = [], threading.Event()

    def start(answer):
        told = Hostile(answer=answer)

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            is_over = over

            def do_GET(self):
                told.got.append((self.path, dict(self.headers)))
                self.close_connection = True
                with suppress(OSError):
                    told.answer(self)

            def raw(self, *parts):
                for part in parts:
                    self.wfile.write(part)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=[0.05]).start()
        servers.append(server)
        told.url = f"http://127.0.0.1:{server.server_address[1]}"
        return told

    yield start
    over.set()
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def asking(tmp_path):
    """Give a function that makes the way to a server."""

    def make(server, **options):
        return Api(ClientConfig(server=server.url, token="secret", cache_dir=tmp_path, retries=0, **options))

    return make


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch):
    monkeypatch.setattr(bounds, "ANSWER_BYTES", 4 * MIB)
    monkeypatch.setattr(bounds, "PROBLEM_BYTES", MIB)


def head(status="200 OK", *fields):
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", *fields, "", ""]
    return "\r\n".join(lines).encode()


def endless(status="200 OK"):
    def answer(request):
        request.raw(head(status, "Transfer-Encoding: chunked"))
        while not request.is_over.is_set():
            request.raw(CHUNK)

    return answer


def bomb(request):
    packed = gzip.compress(b" " * (64 * MIB))
    request.raw(head("200 OK", "Content-Encoding: gzip", f"Content-Length: {len(packed)}"), packed)


def packed_twice(request):
    packed = gzip.compress(gzip.compress(b" " * (64 * MIB)))
    request.raw(head("200 OK", "Content-Encoding: gzip, gzip", f"Content-Length: {len(packed)}"), packed)


def packed_by_zstd(request):
    request.raw(head("200 OK", "Content-Encoding: zstd", "Content-Length: 4"), b"abcd")


def announced(request):
    request.raw(head("200 OK", f"Content-Length: {1 << 40}"))
    request.is_over.wait(60)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (endless(), "more than 4 MiB"),
        (endless("500 Internal Server Error"), "more than 1 MiB"),
        (bomb, "more than 4 MiB"),
        (packed_twice, "packed as 'gzip, gzip'"),
        (packed_by_zstd, "packed as 'zstd'"),
        (announced, "more than 4 MiB"),
    ],
)
def test_an_answer_that_has_no_end_is_given_up(serving, asking, answer, message):
    to = asking(serving(answer))

    with pytest.raises(InvalidInput, match=message):
        to.get("/deltas", Page[VersionDetail])


def test_an_answer_that_is_packed_as_asked_is_read(serving, asking):
    body = gzip.compress(json.dumps({"items": []}).encode())
    server = serving(
        lambda request: request.raw(head("200 OK", "Content-Encoding: gzip", f"Content-Length: {len(body)}"), body)
    )

    assert asking(server).get("/deltas", Page[VersionDetail]).items == []
    assert server.got[0][1]["Accept-Encoding"] == "gzip"


@pytest.mark.parametrize("line", [b"data: " + b"x" * 0xFFFA, b"data: x\n" * 0x2000])
def test_an_event_that_has_no_end_is_given_up(serving, tmp_path, line):
    def answer(request):
        request.raw(head("200 OK", "Transfer-Encoding: chunked"))
        while not request.is_over.is_set():
            request.raw(b"%x\r\n" % len(line), line, b"\r\n")

    config = ClientConfig(server=serving(answer).url, token="secret", cache_dir=tmp_path, retries=0)
    with Client(config) as client, pytest.raises(InvalidInput, match="stream"):
        next(client.events.follow(sleep=lambda _: None))


@pytest.mark.parametrize("part", ["head", "body", "packed body"])
def test_an_answer_that_trickles_ends_in_time(serving, asking, monkeypatch, part):
    monkeypatch.setattr(api, "_BODY_TIMEOUT_S", 0.5)

    def answer(request):
        if part != "head":
            request.raw(head("200 OK", "Transfer-Encoding: chunked"))
        while not request.is_over.wait(0.1):
            request.raw(b"X" if part == "head" else b"1\r\n \r\n")

    server = serving(answer)
    with pytest.raises(Unavailable, match=r"too slowly|in time"):
        asking(server, timeout_s=0.5).get("/deltas", Page[VersionDetail])

    assert len(server.got) == 1


def test_a_slow_answer_is_not_asked_for_again(serving, tmp_path, monkeypatch):
    monkeypatch.setattr(api, "_BODY_TIMEOUT_S", 0.5)

    def answer(request):
        request.raw(head("200 OK", "Transfer-Encoding: chunked"))
        while not request.is_over.wait(0.1):
            request.raw(b"1\r\n \r\n")

    server = serving(answer)
    to = Api(ClientConfig(server=server.url, token="secret", cache_dir=tmp_path, retries=4, timeout_s=0.5))

    with pytest.raises(Unavailable, match=r"comes too slowly: [0-9]+ bytes"):
        to.get("/deltas", Page[VersionDetail])

    assert len(server.got) == 1


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
def test_nobody_is_sent_to_another_server(serving, asking, status):
    other = serving(lambda request: request.raw(head("200 OK", "Content-Length: 12"), b'{"items":[]}'))
    server = serving(lambda request: request.raw(head(status, f"Location: {other.url}/x", "Content-Length: 0")))

    with pytest.raises(InvalidInput, match="which is another server") as refused:
        asking(server).get("/deltas", Page[VersionDetail])

    assert refused.value.fix == f"if the registry is there: --server {other.url}"
    assert other.got == []


def test_a_server_may_send_on_to_itself_and_not_without_end(serving, asking):
    def answer(request):
        if "again" in request.path:
            request.raw(head("200 OK", "Content-Length: 12"), b'{"items":[]}')
        else:
            request.raw(head("307 Temporary Redirect", "Location: ?again=1", "Content-Length: 0"))

    server = serving(answer)
    rounds = serving(lambda request: request.raw(head("307 Temporary Redirect", "Location: ?", "Content-Length: 0")))

    assert asking(server).get("/deltas", Page[VersionDetail]).items == []
    assert server.got[1][1]["Authorization"] == "Bearer secret"
    with pytest.raises(InvalidInput, match="on and on"):
        asking(rounds).get("/deltas", Page[VersionDetail])


def test_a_store_gets_the_request_without_the_token(serving, asking):
    store = serving(lambda request: request.raw(head("200 OK", "Content-Length: 4"), b"pack"))
    server = serving(lambda request: request.raw(endless_redirect(store.url)))

    with asking(server).download("/blobs/sha256:x", query={}) as answer:
        assert answer.read() == b"pack"

    assert "Authorization" not in store.got[0][1]


def endless_redirect(where):
    """Give a redirect whose body never ends: nobody has to read it."""
    return head("307 Temporary Redirect", f"Location: {where}/pack", "Transfer-Encoding: chunked") + CHUNK


@pytest.mark.parametrize(
    ("server", "at", "message"),
    [
        ("https://registry.example", "https://127.0.0.1:1/x", "this machine alone"),
        ("https://registry.example", "https://[::1]:1/x", "this machine alone"),
        ("https://registry.example", "https://localhost/x", "this machine alone"),
        ("http://registry.example", "http://169.254.169.254/latest", "this machine alone"),
        ("https://registry.example", "http://store.example/x", "everybody can read along"),
    ],
)
def test_nobody_is_sent_for_packs_to_what_is_no_store(tmp_path, server, at, message):
    asked = []

    def answer(request):
        asked.append(request.url)
        return httpx.Response(307, headers={"Location": at})

    to = Api(ClientConfig(server=server, cache_dir=tmp_path, retries=0), transport=httpx.MockTransport(answer))

    with pytest.raises(InvalidInput, match=message), to.download("/blobs/sha256:x", query={}):
        pass

    assert len(asked) == 1
