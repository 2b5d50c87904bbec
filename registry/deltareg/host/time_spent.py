"""Where the time of a request goes: noted by what spends it, read by whoever answers the request.

The database, the store and the slots know nothing of requests: they note seconds on what `SPENT` holds, and where
it holds nothing, as in a background thread, they note nothing. Threads that answer a request have its context.
"""

import time
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from types import TracebackType
from typing import Final, Literal

SpentOn = Literal["connection", "database", "store", "slot", "receiving", "sending"]
PARTS: Final[tuple[SpentOn, ...]] = ("connection", "database", "store", "slot", "receiving", "sending")
"""Waiting for a connection to the database; statements and commits; calls of the store; waiting for a turn; waiting
for bytes of the client; waiting until it took them."""


class TimeSpent:
    """The seconds that one request spent, by what it spent them on.

    Attributes:
        request_id: The request.
        traceparent: The trace that it belongs to; empty for none.
        connection: Waiting for a free connection to the database, seconds.
        database: In statements and commits, seconds.
        store: In calls of the store, seconds.
        slot: Waiting for its turn, seconds.
        receiving: Waiting for bytes of the body, seconds.
        sending: Waiting until the client took bytes, seconds.
        statements: How many statements.
        store_calls: How many calls of the store.
    """

    __slots__ = (*PARTS, "request_id", "statements", "store_calls", "traceparent")
    connection: float
    database: float
    store: float
    slot: float
    receiving: float
    sending: float

    def __init__(self, request_id: str = "") -> None:
        """Begin with nothing spent."""
        self.request_id, self.traceparent = request_id, ""
        self.connection = self.database = self.store = self.slot = self.receiving = self.sending = 0.0
        self.statements = self.store_calls = 0

    def statement(self, text: str, began: float) -> None:  # the text is for who traces
        """Note that a statement which began then, by `time.perf_counter`, is done."""
        self.database += time.perf_counter() - began
        self.statements += 1

    def store_call(self, name: str, began: float) -> None:  # as above
        """Note that a call of the store is done, or a step of what it gives."""
        self.store += time.perf_counter() - began
        self.store_calls += 1

    def add(self, part: SpentOn, began: float) -> None:
        """Note that something else is done."""
        setattr(self, part, getattr(self, part) + time.perf_counter() - began)

    def end(self, method: str, route: str, status: int) -> None:
        """Hear how the request ended; told to who traces."""

    def parts(self) -> dict[SpentOn, float]:
        """Return the seconds of each part that took any."""
        return {part: seconds for part in PARTS if (seconds := getattr(self, part))}


SPENT: ContextVar[TimeSpent | None] = ContextVar("time_spent", default=None)


class _Spending:
    """A block whose time is noted when it ends."""

    __slots__ = ("_began", "_part", "_spent")

    def __init__(self, spent: TimeSpent, part: SpentOn) -> None:
        self._spent = spent
        self._part: SpentOn = part
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spent.add(self._part, self._began)


def spending(part: SpentOn) -> AbstractContextManager[None]:
    """Note how long a block takes, where somebody asked."""
    spent = SPENT.get()
    return nullcontext() if spent is None else _Spending(spent, part)
