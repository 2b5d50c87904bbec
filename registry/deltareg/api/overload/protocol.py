"""HTTP/1.1 with deadlines: a head comes soon, a body keeps a least rate, an answer is read.

uvicorn waits for a request as long as the client likes, and for its body as well. This is its own protocol with what
other servers have: nginx's `client_header_timeout`, Apache's `MinRate` of bodies, `send_timeout`. Time in which the
server itself takes nothing does not count against a client: a body that waits for its turn is not slow.
"""

import asyncio
import json
from typing import Any, Final, cast

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from deltareg.api.overload.connections import ConnectionBook

HEAD_S: Final = 10.0
"""How long a request line with its headers may take, seconds."""
LEAST_RATE: Final = 8 << 10
"""What a body brings at least, bytes per second: 64 kbit/s."""
RATE_WINDOW_S: Final = 20.0
"""Over which time that is counted, seconds."""
UNREAD_S: Final = 120.0
"""How long a client may take nothing of an answer, seconds."""
_CLOSING_S: Final = 5.0
_SLOW_HEAD = f"the request did not come within {HEAD_S:.0f} seconds"
_SLOW_BODY = f"the body came with less than {LEAST_RATE} bytes a second over {RATE_WINDOW_S:.0f} seconds"
_FULL = "the server has as many connections as it can hold"


class PatientProtocol(H11Protocol):
    """One connection, and how long it has been slow."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        book: ConnectionBook,
    ) -> None:
        """Make the protocol of a connection; the arguments are uvicorn's, beside `book`."""
        super().__init__(config, server_state, app_state, _loop)
        self._book = book
        self.address = ""
        self._head_since: float | None = None
        self._received = 0
        self._body_clock_s = 0.0
        self._body_mark = -1
        self._unread = 0
        self._looked_at = self._unread_since = self._closing_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin, if there is room for one more connection."""
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        self._head_since = self._looked_at = self.loop.time()
        if not self._book.admit(self):
            self._refuse(503, "Unavailable", "unavailable", _FULL)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._book.drop(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, and note whether a request has begun."""
        if self.transport.is_closing():
            return
        self._received += len(data)
        if self._head_since is None and self._is_idle():
            self._head_since = self.loop.time()
        super().data_received(data)
        if self._head_since is not None and not self._is_idle():
            self._begin_request()

    def on_response_complete(self) -> None:
        """Note that the connection waits for another request; one that came meanwhile begins at once."""
        self._book.end_work(self)
        super().on_response_complete()
        if not self._is_idle() and not self.transport.is_closing():
            self._begin_request()

    def close_idle(self) -> None:
        """Close the connection for a newcomer."""
        self.transport.abort()

    def look_after(self, now: float) -> None:
        """Close the connection if a head, a body or the reading of an answer takes too long."""
        passed_s, self._looked_at = now - self._looked_at, now
        if self.transport.is_closing():
            self._closing_since = self._closing_since or now
            if now - self._closing_since > _CLOSING_S:
                self.transport.abort()
            return
        if self._is_forgotten():
            self._head_since = now
            self._book.end_work(self)
        if self._head_since is not None and now - self._head_since > HEAD_S:
            self._refuse(408, "Timed out", "unavailable", _SLOW_HEAD)
        elif self.conn.their_state is h11.SEND_BODY and self._is_body_slow(passed_s):
            self._refuse(408, "Timed out", "unavailable", _SLOW_BODY)
        elif self._is_unread(now):
            self.transport.abort()

    def _begin_request(self) -> None:
        self._head_since = None
        self._body_clock_s, self._body_mark = 0.0, self._received
        self._book.begin_work(self)

    def _is_idle(self) -> bool:
        return self.conn.their_state is h11.IDLE and self.conn.our_state is h11.IDLE

    def _is_forgotten(self) -> bool:
        """Whether no deadline runs: the rest of a body that nobody wanted stops uvicorn's own."""
        return self._is_idle() and self._head_since is None and self.timeout_keep_alive_task is None

    def _is_body_slow(self, passed_s: float) -> bool:
        """Whether a body brought too little in the last window; what the server does not ask for is not waited for."""
        if self.flow.read_paused or self.cycle.waiting_for_100_continue:
            return False
        self._body_clock_s += passed_s
        if self._body_clock_s < RATE_WINDOW_S:
            return False
        came = self._received - self._body_mark
        is_slow = came < LEAST_RATE * self._body_clock_s
        self._body_clock_s, self._body_mark = 0.0, self._received
        return is_slow

    def _is_unread(self, now: float) -> bool:
        waiting = self.transport.get_write_buffer_size()
        if not waiting or waiting != self._unread:
            self._unread, self._unread_since = waiting, now
        return waiting > 0 and now - self._unread_since > UNREAD_S

    def _refuse(self, status: int, title: str, code: str, detail: str) -> None:
        """Answer a request that the app never sees, or will not answer any more, and close the connection."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            document = {
                "type": f"urn:deltareg:problem:{code}",
                "title": title,
                "status": status,
                "detail": detail,
                "code": code,
                "retryable": True,
            }
            body = json.dumps(document).encode()
            headers = [
                ("content-type", "application/problem+json"),
                ("content-length", str(len(body))),
                ("connection", "close"),
                ("retry-after", "5"),
            ]
            for event in (h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self._unset_keepalive_if_required()
        self._book.drop(self)
        self.transport.close()
