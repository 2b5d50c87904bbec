"""Commits to one line take turns within a server, so that each is applied over the result of the last.

It spares work: of commits at several servers the database lets one through, and the others are applied again.
"""

import threading

_LOCKS = 64


class CommitLocks:
    """A few locks that all lines share; lines that share one only wait for each other."""

    def __init__(self) -> None:
        """Create the locks, all of them free."""
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def of(self, line: str) -> threading.Lock:
        """Return the lock to hold while a commit to a line is applied."""
        return self._locks[hash(line) % _LOCKS]
