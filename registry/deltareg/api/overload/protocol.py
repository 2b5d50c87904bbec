"""HTTP/1.1 with deadlines: a head comes soon, a body keeps a least rate, an answer is read.

uvicorn waits for a request as long as the client likes, and for its body as well. This is its own protocol with what
other servers have: nginx's `client_header_timeout`, Apache's `MinRate` of bodies, `send_timeout`. Time in which the
server itself takes nothing does not count against a client: a body that waits for its turn is not slow.
"""

import asyncio
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.server import ServerState

from deltareg.api.overload.connections import ConnectionBook
from deltareg.api.overload.strict_http import StrictProtocol

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


class PatientProtocol(StrictProtocol):
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
            self.refuse(503, _FULL)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._book.drop(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, and note whether a request has begun."""
        if self.transport.is_closing():
            return
        self._received += len(data)
        if self._head_since is None and self.is_idle:
            self._head_since = self.loop.time()
        super().data_received(data)
        if self._head_since is not None and not self.is_idle:
            self._begin_request()

    def on_response_complete(self) -> None:
        """Note that the connection waits for another request; one that came meanwhile begins at once."""
        self._book.end_work(self)
        super().on_response_complete()
        if not self.is_idle and not self.transport.is_closing():
            self._begin_request()

    def close_idle(self) -> None:
        """Close the connection for a newcomer."""
        self.transport.abort()

    def look_after(self, now: float) -> None:
        """Close the connection if a head, a body or the reading of an answer takes too long."""
        passed_s, self._looked_at = now - self._looked_at, now
        unread_s = self._unread_for(now)
        if self.transport.is_closing():
            self._closing_since = self._closing_since or now
            if min(unread_s, now - self._closing_since) > _CLOSING_S:
                self.transport.abort()
            return
        if self._is_forgotten():
            self._head_since = now
            self._book.end_work(self)
        if self._head_since is not None and now - self._head_since > HEAD_S:
            self.refuse(408, _SLOW_HEAD)
        elif self.is_in_body and self._is_body_slow(passed_s):
            self.refuse(408, _SLOW_BODY)
        elif self._unread and unread_s > UNREAD_S:
            self.transport.abort()

    def _begin_request(self) -> None:
        self._head_since = None
        self._body_clock_s, self._body_mark = 0.0, self._received
        self._book.begin_work(self)

    def _is_forgotten(self) -> bool:
        """Whether no deadline runs: the rest of a body that nobody wanted stops uvicorn's own."""
        return self.is_idle and self._head_since is None and self.timeout_keep_alive_task is None

    def _is_body_slow(self, passed_s: float) -> bool:
        """Whether a body brought too little in the last window; what the server does not ask for is not waited for."""
        if self.flow.read_paused or self.waits_to_be_asked:
            return False
        self._body_clock_s += passed_s
        if self._body_clock_s < RATE_WINDOW_S:
            return False
        came = self._received - self._body_mark
        is_slow = came < LEAST_RATE * self._body_clock_s
        self._body_clock_s, self._body_mark = 0.0, self._received
        return is_slow

    def _unread_for(self, now: float) -> float:
        """Return for how long as much of the answer as now has not been taken, seconds."""
        waiting = self.transport.get_write_buffer_size()
        if waiting != self._unread:
            self._unread, self._unread_since = waiting, now
        return now - self._unread_since
