"""One request and its answer: as uvicorn has it, with one write for a short answer, and no chunks for HTTP/1.0."""

import asyncio
import http
import re
from collections.abc import Iterable
from typing import Final

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

_PHRASES: Final = {status.value: status.phrase.encode() for status in http.HTTPStatus}
_NOT_IN_NAMES: Final = re.compile(rb'[\x00-\x20\x7f()<>@,;:\\[\]={}"]')
_NOT_IN_VALUES: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_SHORT_BYTES: Final = 64 << 10
_WITHOUT_BODY: Final = frozenset({204, 304})


class AnsweredRequest(RequestResponseCycle):
    """Answers one request of a connection.

    uvicorn's own writes head and body apart, each a system call and a packet, and sends chunks to HTTP/1.0 as well.
    """

    _head: bytes = b""
    _is_bodiless = _says_close = False

    async def send(self, message: ASGISendEvent) -> None:
        """Send the head or a part of the body.

        Raises:
            RuntimeError: The app's messages are out of order, or its body is not as long as its head says.
        """
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if self.response_complete:
            raise RuntimeError(f"{message['type']} after the end of the answer")
        if not self.response_started:
            if message["type"] != "http.response.start":
                raise RuntimeError(f"{message['type']} before the head of the answer")
            self._begin(message["status"], message.get("headers", ()))
        elif message["type"] != "http.response.body":
            raise RuntimeError(f"{message['type']} inside of the answer")
        else:
            self._go_on(message.get("body", b""), is_more=message.get("more_body", False))

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Make the head; it goes out with the first part of the body, or as soon as the app waits for something."""
        self.response_started = True
        if self.waiting_for_100_continue:  # whether the body still comes, nobody knows
            self.waiting_for_100_continue = self.keep_alive = False
        self._is_bodiless = status in _WITHOUT_BODY or self.scope["method"] == "HEAD"
        lines = [b"HTTP/1.1 %d %s" % (status, _PHRASES.get(status, b""))]
        lines += (self._line(*header) for header in (*self.default_headers, *headers))
        if self.chunked_encoding is None:
            lines += self._framing()
        if not self.keep_alive and not self._says_close:
            lines.append(b"connection: close")
        self._head = b"\r\n".join((*lines, b"", b""))
        asyncio.get_running_loop().call_soon(self._send_head)

    def _line(self, name: bytes, value: bytes) -> bytes:
        """Return a line of the head, and note what it says of the body and the connection."""
        if _NOT_IN_NAMES.search(name) or _NOT_IN_VALUES.search(value):
            raise RuntimeError(f"a header of the answer that cannot be sent: {name!r}")
        lowered = name.lower()
        if lowered == b"content-length":
            self.chunked_encoding, self.expected_content_length = False, int(value)
        elif lowered == b"transfer-encoding":
            raise RuntimeError("how an answer is cut is not the app's to say")
        elif lowered == b"connection" and b"close" in value.lower():
            self.keep_alive, self._says_close = False, True
        return b"%s: %s" % (lowered, value)

    def _framing(self) -> tuple[bytes, ...]:
        """Return how the end of a body of unknown length is told: by its chunks, or to HTTP/1.0 by the connection's."""
        self.expected_content_length = -1
        self.chunked_encoding = self.scope["http_version"] == "1.1" and not self._is_bodiless
        return (b"transfer-encoding: chunked",) if self.chunked_encoding else ()

    def _send_head(self) -> None:
        head, self._head = self._head, b""
        if head and not self.disconnected:
            self.transport.write(head)

    def _go_on(self, body: bytes, *, is_more: bool) -> None:
        """Send a part of the body, and end the answer with the last."""
        self._write(self._cut(body, is_more=is_more))
        if is_more:
            return
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def _cut(self, body: bytes, *, is_more: bool) -> bytes:
        """Return a part of the body as it is sent."""
        if self._is_bodiless:
            return b""
        if self.chunked_encoding:
            return (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + (b"" if is_more else b"0\r\n\r\n")
        if self.expected_content_length >= 0:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0 or (self.expected_content_length and not is_more):
                raise RuntimeError("the body of the answer is not as long as its head says")
        return body

    def _write(self, body: bytes) -> None:
        head, self._head = self._head, b""
        if len(body) > _SHORT_BYTES:  # put together, it would be copied
            self.transport.write(head)
            self.transport.write(body)
        elif head or body:
            self.transport.write(head + body)
