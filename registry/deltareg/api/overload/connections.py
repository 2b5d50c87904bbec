"""All connections of a server: how many there are, which of them wait, and which have waited for too long.

A connection that has no request in work is idle. Where there are too many, the one that has been idle longest is closed
for the newcomer: who sends a request at once is never that one, and who holds a thousand sockets loses those first.
"""

import asyncio
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Protocol

SWEEP_S = 1.0


class Watched(Protocol):
    """A connection, as the book sees it."""

    address: str

    def close_idle(self) -> None:
        """Close it; it has no request in work."""
        ...

    def look_after(self, now: float) -> None:
        """Close it if it is too slow; called about once a second with the loop's time."""
        ...


@dataclass(slots=True)
class ConnectionBook:
    """The connections of one process; used on the event loop alone.

    Attributes:
        most: How many there may be.
        most_of_address: How many of them one address may hold; None behind a proxy, whose address all have.
    """

    most: int
    most_of_address: int | None
    _all: dict[Watched, None] = field(default_factory=dict)
    _idle: OrderedDict[Watched, None] = field(default_factory=OrderedDict)
    _by_address: Counter[str] = field(default_factory=Counter)
    _timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Return how many connections there are."""
        return len(self._all)

    def admit(self, connection: Watched) -> bool:
        """Take a new connection; False if there is no room and nothing idle to close for it."""
        address = connection.address
        if self.most_of_address is not None and self._by_address[address] >= self.most_of_address:
            oldest = next((each for each in self._idle if each.address == address), None)
        elif len(self._all) >= self.most:
            oldest = next(iter(self._idle), None)
        else:
            self._add(connection)
            return True
        if oldest is None:
            return False
        self.drop(oldest)
        oldest.close_idle()
        self._add(connection)
        return True

    def _add(self, connection: Watched) -> None:
        self._all[connection] = self._idle[connection] = None
        self._by_address[connection.address] += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def drop(self, connection: Watched) -> None:
        """Forget a connection; nothing happens if it is forgotten already."""
        if connection not in self._all:
            return
        del self._all[connection]
        self._idle.pop(connection, None)
        self._by_address[connection.address] -= 1
        if not self._by_address[connection.address]:
            del self._by_address[connection.address]

    def begin_work(self, connection: Watched) -> None:
        """Note that a connection has a request in work."""
        self._idle.pop(connection, None)

    def end_work(self, connection: Watched) -> None:
        """Note that a connection is idle again."""
        if connection in self._all:
            self._idle[connection] = None

    def _sweep(self) -> None:
        """Look after all connections; ends when there are none."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self._all):
            connection.look_after(now)
        self._timer = loop.call_later(SWEEP_S, self._sweep) if self._all else None
