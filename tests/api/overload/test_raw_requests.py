"""What the server takes for requests, held against h11, which is strict: it sees none that h11 does not see."""

import asyncio
import json
import logging
import random
from contextlib import suppress
from functools import partial

import h11
import pytest
import uvicorn

from deltareg.api.overload import protocol, strict_http
from deltareg.api.overload.connections import ConnectionBook
from deltareg.api.overload.protocol import PatientProtocol
from tests.api.overload.raw_requests import RAW

# What h11 takes, and this server refuses: nobody needs it, or two servers may read it in two ways.
STRICTER = {
    "HTTP/0.9",
    "HTTP/1.2",
    "HTTP/2.0",
    "HTTP/9.9",
    "chunk size beyond 64 bits",
    "chunk size with a space behind",
    "chunk's word with a NUL",
    "chunk's word with a carriage return",
    "chunks and length",
    "chunks of HTTP/1.0",
    "connect",
    "control in a value",
    "delete in a value",
    "folded",
    "folded length",
    "length and chunks",
    "length beyond 64 bits",
    "line feed alone in a head",
    "line feeds alone",
    "list of lengths",
    "made-up method",
    "many headers",
    "method in small",
    "method of RTSP",
    "preface of HTTP/2",
    "target in full",
    "target with a fragment",
    "target without a slash",
    "the same length twice",
    "trailer with a length",
    "trailer with an encoding",
}
# What h11 refuses, and RFC 9112 lets a server take: empty lines before a request (2.2), more spaces in its line (3).
LAXER = {"empty line first", "two spaces", "two spaces behind"}


async def telling(scope, receive, send):
    """Answer with what was asked, once all of it is there."""
    body, is_more = b"", True
    while is_more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, is_more = body + message["body"], message.get("more_body", False)
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    seen = shown(scope["method"].encode(), target, scope["headers"], body)
    said = json.dumps(seen).encode()
    length = (b"content-length", b"%d" % len(said))
    await send({"type": "http.response.start", "status": 200, "headers": [length, (b"x-seen", said)]})
    await send({"type": "http.response.body", "body": said})


def shown(method, target, headers, body):
    """Give a request as JSON has it; the wish for another protocol is passed over, and codings have no case."""
    fields = [
        [name.decode(), (value.lower() if name == b"transfer-encoding" else value).decode("latin-1")]
        for name, value in headers
        if name != b"upgrade"
    ]
    return [method.decode(), target.decode(), fields, body.decode("latin-1")]


def seen_by_h11(raw, *, reads_laxly=False):
    """Give the requests that h11 reads, and whether it refuses what follows."""
    requests: list = []
    head: list = []
    while raw:
        connection, body = h11.Connection(h11.SERVER), b""
        connection.receive_data(as_read_laxly(raw) if reads_laxly else raw)
        while True:
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError:
                return requests, True
            if isinstance(event, h11.EndOfMessage):
                break
            if event is h11.NEED_DATA:
                return requests, False
            if isinstance(event, h11.Request):
                head = [event.method, event.target, event.headers]
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
        requests.append(shown(head[0], head[1], head[2], body))
        connection.send(h11.Response(status_code=404, headers=[("content-length", "0")]))
        connection.send(h11.EndOfMessage())
        raw = connection.trailing_data[0] if connection.our_state is h11.DONE else b""
    return requests, False


async def _send(port, raw, piece):
    """Send bytes in pieces, over a connection of their own; what comes back is read meanwhile."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    reading = asyncio.create_task(_read_to_end(reader))
    for start in range(0, len(raw), piece):
        writer.write(raw[start : start + piece])
        await asyncio.sleep(0)
    return reading, writer


async def _read_to_end(reader):
    got = b""
    with suppress(ConnectionError):
        while part := await reader.read(1 << 16):
            got += part
    return got


async def _ask_all(sent):
    """Send all at once; gives what came back until the server had nothing more to do, by turns of the loop."""
    config = uvicorn.Config(telling, log_config=None, access_log=False, lifespan="off", timeout_keep_alive=600)
    config.load()
    loop, book, state = asyncio.get_running_loop(), ConnectionBook(10_000, 10_000), uvicorn.server.ServerState()
    make = partial(PatientProtocol, config=config, server_state=state, app_state={}, book=book)
    server = await loop.create_server(make, "127.0.0.1", 0, backlog=4_096)
    port = server.sockets[0].getsockname()[1]
    started = await asyncio.gather(*(_send(port, raw, piece) for raw, piece in sent))
    for _ in range(200):
        await asyncio.sleep(0.001)
    server.close()
    for connection in list(state.connections):
        connection.transport.close()
    answers = [await reading for reading, _ in started]
    for _, writer in started:
        writer.close()
    return answers


def seen_by_server(sent):
    """Give for each (bytes, length of a piece) the requests that the app saw, and the status of a refusal or None."""
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(protocol, "HEAD_S", 600)
        return [_read(got) for got in asyncio.run(_ask_all(sent))]


def _read(got):
    requests, refused = [], None
    while got:
        head, _, got = got.partition(b"\r\n\r\n")
        lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        status = int(head.split(b" ")[1])
        if status == 200:
            requests.append(json.loads(lines[b"x-seen"]))
            got = got[0 if requests[-1][0] == "HEAD" else int(lines[b"content-length"]) :]
        elif status != 100:
            problem = json.loads(got)
            assert problem["status"] == status
            assert lines[b"content-type"] == b"application/problem+json"
            assert lines[b"connection"] == b"close"
            refused, got = status, b""
    return requests, refused


@pytest.fixture(scope="module")
def answers():
    """What came of each request, in one go and in pieces."""
    sent = [(raw, piece) for raw in RAW.values() for piece in (1 << 20, 7 if len(raw) < 5_000 else 7_000)]
    seen = seen_by_server(sent)
    return dict(zip(RAW, zip(seen[::2], seen[1::2], strict=True), strict=True))


@pytest.mark.parametrize("name", [name for name in RAW if not name.startswith(("long", "empty lines"))])
def test_a_request_is_read_as_h11_reads_it_or_refused(answers, name):
    expected, is_refused = seen_by_h11(RAW[name])
    requests, refused = answers[name][0]

    if name in LAXER:
        assert (requests, is_refused, refused) == ([["GET", "/", [["host", "a"]], ""]], True, None)
    elif name in STRICTER:
        assert requests == expected[: len(requests)]
        assert requests != expected or not is_refused
        assert refused == (431 if name == "many headers" else 400)
    else:
        assert requests == expected
        assert refused == (400 if is_refused else None) or name == "no length at all"
    in_pieces, said = answers[name][1]
    if refused or name.startswith(("HTTP/1.0", "to be closed")):
        assert in_pieces == requests[: len(in_pieces)]
        assert said in {refused, None}  # who still sends may have a reset for an answer
    else:
        assert in_pieces == requests  # wherever packets end


@pytest.mark.parametrize("name", [name for name in RAW if name.startswith(("long", "empty lines"))])
def test_what_has_no_end_is_not_kept(answers, name):
    for requests, refused in answers[name]:
        assert requests == []
        assert refused in {431, None}  # the answer, or the reset of a connection that still sends


def test_the_greatest_head_is_taken():
    room = strict_http.HEAD_BYTES - 100
    long = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * room + b"\r\n\r\n"
    [(in_one, _), (in_pieces, _)] = seen_by_server([(long, 1 << 20), (long, 1_000)])

    assert in_one == in_pieces == seen_by_h11(long)[0]


PARTS = (b"\r", b"\n", b"\r\n", b" ", b"\t", b"\x00", b":", b",", b";", b"0", b"5", b"a", b"\r\n\r\n", b"\x0b", b"\xff")


def mutated(raw, chance):
    """Give bytes with a few of them lost, doubled, or something put between."""
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(raw))
        until = min(len(raw), at + chance.choice((0, 0, 1, 1, 4, 20)))
        between = chance.choice((*PARTS, raw[at:until] * 2, b""))
        raw = raw[:at] + between + raw[until:]
    return raw


def as_read_laxly(raw):
    """Give bytes as RFC 9112 lets a server take them: without empty lines first, and with one space for many."""
    while raw.startswith((b"\r", b"\n")):
        raw = raw[1:]
    line, _, rest = raw.partition(b"\r\n")
    return b" ".join(line.split()) + b"\r\n" + rest


def assert_nothing_more_is_seen(seed, many):
    chance = random.Random(seed)
    seeds = [raw for raw in RAW.values() if len(raw) < 1_000]
    raws = [mutated(chance.choice(seeds), chance) for _ in range(many)]
    for raw, (requests, _) in zip(
        raws, seen_by_server([(raw, chance.choice((1 << 20, 11))) for raw in raws]), strict=True
    ):
        expected = seen_by_h11(raw)[0]
        if requests != expected[: len(requests)]:
            expected = seen_by_h11(raw, reads_laxly=True)[0]
        assert requests == expected[: len(requests)], raw


def test_mutated_requests_show_nothing_that_h11_does_not_see():
    assert_nothing_more_is_seen(seed=1, many=300)


@pytest.mark.soak
def test_many_mutated_requests_show_nothing_that_h11_does_not_see():
    for seed in range(30):
        assert_nothing_more_is_seen(seed, many=500)
