"""HTTP/1.1 as strictly as a server behind any proxy needs it, over llhttp, the parser of Node.

What two servers might read in two ways is refused: whoever hides a request in another one lives from that. llhttp
refuses most of it; the rest is refused here, and heads have a greatest size, which llhttp leaves to its user.
"""

import asyncio
import json
from typing import Any, Final, Literal, cast
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from deltareg.api.overload.answers import AnsweredRequest

HEAD_BYTES: Final = 64 << 10
"""How long a request line with its headers may be, bytes; trailers too, and what stands beside the size of a chunk."""
HEADERS: Final = 256
"""How many headers a request may have."""
AHEAD: Final = 16
"""How many requests a client may send before the first of them is answered."""
_HIGH_WATER_BYTES: Final = 64 << 10
_ONCE: Final = frozenset({b"host", b"content-length", b"transfer-encoding"})
_TITLES: Final = {400: "Bad request", 408: "Timed out", 431: "Headers too large", 503: "Unavailable"}
Refused = Literal[400, 408, 431, 503]
_Refusal = tuple[Refused, str]
_NO_HTTP: Final = "this is no valid HTTP/1.1"
_TOO_LONG: Final = f"the request's head is longer than {HEAD_BYTES} bytes or {HEADERS} headers"


class StrictProtocol(HttpToolsProtocol):
    """One connection; its requests are answered one after the other."""

    cycle: AnsweredRequest | None  # type: ignore[assignment]  # the request that came last
    app: Any
    url: bytes

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Make the protocol of a connection; the arguments are uvicorn's."""
        super().__init__(config, server_state, app_state, _loop)
        self.parser = httptools.HttpRequestParser(self)  # uvicorn's is lenient about what follows a last request
        self._answered: AnsweredRequest | None = None
        self._waiting: list[AnsweredRequest] = []
        self._is_in_head = self.is_in_body = self._is_over = False
        self._once: dict[bytes, bytes] = {}
        self._head_bytes = self._loose_bytes = 0
        self._refusal: _Refusal | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all requests that nobody waits for their answers."""
        for cycle in [*self._waiting, *([self._answered] if self._answered else [])]:
            if not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        super().connection_lost(exc)

    @property
    def is_idle(self) -> bool:
        """Whether no request is there with its whole head, or all are answered and read to their end."""
        return not self.is_in_body and not self._is_answering

    @property
    def waits_to_be_asked(self) -> bool:
        """Whether the client sends the body once it is asked for it."""
        return self.cycle is not None and self.cycle.waiting_for_100_continue

    @property
    def _is_answering(self) -> bool:
        return self._answered is not None and not self._answered.response_complete

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        self._unset_keepalive_if_required()
        while data and not self._is_over:
            data = self._feed(data)
        if self._loose_bytes > HEAD_BYTES:
            self.refuse(431, _TOO_LONG)

    def _feed(self, data: bytes) -> bytes:
        """Let the parser take bytes; returns those that are to be parsed anew."""
        self._loose_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._head_without_upgrade() + data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            if self._is_over:
                return b""
            if self._refusal is None and isinstance(error, httptools.HttpParserCallbackError):
                self.logger.exception("a request could not be taken", exc_info=error.__context__)
            self.refuse(*(self._refusal or (400, _NO_HTTP)))
        return b""

    def _head_without_upgrade(self) -> bytes:
        """Return a head again, without the wish for another protocol, behind which the parser would not go on.

        Such a wish may be passed over (RFC 9110, 7.8). Clients that would rather have HTTP/2 have it in each request.
        """
        head = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        head += [b"%s: %s" % field for field in self.headers if field[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self._loose_bytes = 0
        return b"\r\n".join((*head, b"", b""))

    # What the parser calls

    def on_message_begin(self) -> None:
        """Begin a request."""
        if self.cycle is not None and not self.cycle.keep_alive:
            self._is_over = True  # after a last request there is none
            raise httptools.HttpParserError("a request behind the last one")
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, 0
        self._once = {}

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self.url += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers are nobody's: they come when the request is in work."""
        self._count(len(name) + len(value) + 4)
        if not self._is_in_head:
            return
        name, value = name.lower(), value.rstrip(b" \t")
        if name in _ONCE:
            if name in self._once:
                self._fail(400, f"the request has more than one {name.decode()}")
            self._once[name] = value
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))
        if len(self.headers) > HEADERS:
            self._fail(431, _TOO_LONG)

    def on_headers_complete(self) -> None:
        """Begin to answer a request, or let it wait for those before it."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        if method == b"CONNECT":
            self._fail(400, "this server is no proxy")
        if self.parser.should_upgrade():
            return
        self._check(method, version)
        scope = cast("dict[str, object]", self.scope)
        scope["method"], scope["http_version"] = method.decode(), version
        sent_path, _, query = self.url.partition(b"?")
        path = sent_path.decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"], scope["query_string"] = sent_path, query
        self._is_in_head, self.is_in_body = False, True
        self._loose_bytes = self._head_bytes = 0
        self.cycle = cycle = AnsweredRequest(  # pyright: ignore[reportIncompatibleVariableOverride]
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue and version == "1.1",
            keep_alive=version == "1.1" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if not self._is_answering:
            self._answer(cycle)
        elif len(self._waiting) < AHEAD:
            self.flow.pause_reading()
            self._waiting.append(cycle)
        else:
            self._fail(400, f"the client sends more than {AHEAD} requests ahead")

    def on_body(self, body: bytes) -> None:
        """Take a part of the body; what nobody will read any more is passed over."""
        self._loose_bytes = 0
        cycle = cast("AnsweredRequest", self.cycle)
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > _HIGH_WATER_BYTES:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """End a request."""
        if not self.is_in_body:
            return  # it is parsed anew, without its wish for another protocol
        self.is_in_body = False
        self._loose_bytes = self._head_bytes = 0
        cycle = cast("AnsweredRequest", self.cycle)
        cycle.more_body = False
        cycle.message_event.set()

    # What is refused

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES:
            self._fail(431, _TOO_LONG)

    def _fail(self, status: Refused, detail: str) -> None:
        self._refusal = (status, detail)
        raise httptools.HttpParserError(detail)  # ends the parser's work

    def _check(self, method: bytes, version: str) -> None:
        """Refuse what others might read in another way than this server, or that means nothing here."""
        once, target = self._once, self.url
        if version not in {"1.1", "1.0"}:
            self._fail(400, "this server speaks HTTP/1.1")
        if version == "1.1" and b"host" not in once:
            self._fail(400, "the request names no Host")
        coding = once.get(b"transfer-encoding")
        if coding is not None and (coding.lower() != b"chunked" or version == "1.0" or b"content-length" in once):
            self._fail(400, "how long the body is could be read in two ways")
        if (target[:1] != b"/" and (target != b"*" or method != b"OPTIONS")) or b"#" in target or not target.isascii():
            self._fail(400, "the request's target is no path")

    def refuse(self, status: Refused, detail: str) -> None:
        """Refuse what came last, and close the connection once what came before it is answered."""
        self._is_over = True
        self._refusal = status, detail
        if status in {400, 431}:
            self.logger.warning("Invalid HTTP request received.")
        broken, self.is_in_body = (self.cycle if self.is_in_body else None), False
        if broken in self._waiting:
            self._waiting.remove(broken)
        elif broken is not None and broken is self._answered:
            self._answered = None
            if not broken.response_complete:
                broken.disconnected = True
                broken.message_event.set()
            if broken.response_started:
                self._end()
                return
        if self._is_answering:
            self.flow.pause_reading()
        else:
            self._say_refusal()

    def _say_refusal(self) -> None:
        status, detail = cast("_Refusal", self._refusal)
        is_wrong = status in {400, 431}
        code = "invalid_input" if is_wrong else "unavailable"
        document = {
            "type": f"urn:deltareg:problem:{code}",
            "title": _TITLES[status],
            "status": status,
            "detail": detail,
            "code": code,
            "retryable": not is_wrong,
        }
        body = json.dumps(document).encode()
        lines = [
            f"HTTP/1.1 {status} {_TITLES[status]}",
            "content-type: application/problem+json",
            f"content-length: {len(body)}",
            "connection: close",
            *(() if is_wrong else ("retry-after: 5",)),
        ]
        head = "\r\n".join((*lines, "", ""))
        self.transport.write(head.encode() + body)
        self._end()

    def _end(self) -> None:
        """Close the connection, once what was written is out."""
        self._is_over = True
        self._unset_keepalive_if_required()
        self.transport.close()

    # What is answered

    def _answer(self, cycle: AnsweredRequest) -> None:
        self._answered = cycle
        task = self.loop.create_task(cycle.run_asgi(self.app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_response_complete(self) -> None:
        """Answer the next request, or wait for one."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        if self._waiting:
            self._answer(self._waiting.pop(0))
            return
        if self._refusal is not None:
            self._say_refusal()
            return
        self.flow.resume_reading()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
