"""One request and its answer: what uvicorn does, with one write for a short answer, and HTTP/1.0 answered in its words."""

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
_WITHOUT_BODY: Final = frozenset({204, 304})


class AnsweredRequest(RequestResponseCycle):
    """Answers one request of a connection.

    uvicorn's own writes head and body apart, each a system call and a packet, and sends chunks to clients of HTTP/1.0.
    """

    _head: bytes = b""
    _is_bodiless = False

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
            self._go_on(message.get("body", b""), message.get("more_body", False))

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Make the head; it goes out with the first part of the body, or as soon as the app waits for something."""
        self.response_started = True
        if self.waiting_for_100_continue:  # whether the body comes now, nobody knows: what comes next has no meaning
            self.waiting_for_100_continue = self.keep_alive = False
        is_old = self.scope["http_version"] == "1.0"
        lines = [b"HTTP/1.1 %d %s" % (status, _PHRASES.get(status, b""))]
        says_close = False
        for name, value in (*self.default_headers, *headers):
            if _NOT_IN_NAMES.search(name) or _NOT_IN_VALUES.search(value):
                raise RuntimeError(f"a header of the answer that cannot be sent: {name!r}")
            name = name.lower()
            if name == b"content-length" and self.chunked_encoding is None:
                self.chunked_encoding, self.expected_content_length = False, int(value)
            elif name == b"transfer-encoding":
                continue  # how a body is cut is decided here
            elif name == b"connection" and b"close" in value.lower():
                self.keep_alive, says_close = False, True
            lines.append(b"%s: %s" % (name, value))
        self._is_bodiless = status in _WITHOUT_BODY or self.scope["method"] == "HEAD"
        if self.chunked_encoding is None:
            self.chunked_encoding = not is_old and not self._is_bodiless
            self.keep_alive = self.keep_alive and (self.chunked_encoding or self._is_bodiless)
            if self.chunked_encoding:
                lines.append(b"transfer-encoding: chunked")
            else:
                self.expected_content_length = -1
        if not self.keep_alive and not says_close:
            lines.append(b"connection: close")
        self._head = b"\r\n".join((*lines, b"", b""))
        asyncio.get_running_loop().call_soon(self._send_head)

    def _send_head(self) -> None:
        head, self._head = self._head, b""
        if head and not self.disconnected:
            self.transport.write(head)

    def _go_on(self, body: bytes, is_more: bool) -> None:
        """Send a part of the body, and end the answer with the last."""
        if self._is_bodiless:
            body = b""
        elif self.chunked_encoding:
            body = (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + (b"" if is_more else b"0\r\n\r\n")
        elif self.expected_content_length >= 0:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0:
                raise RuntimeError("the body of the answer is longer than its head says")
            if self.expected_content_length and not is_more:
                raise RuntimeError("the body of the answer is shorter than its head says")
        if self._head or body:
            head, self._head = self._head, b""
            self.transport.write(head + body)
        if is_more:
            return
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
