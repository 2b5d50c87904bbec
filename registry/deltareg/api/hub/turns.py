"""Commits of one person to one line take turns, so each is applied over the result of the last."""

import threading

_LOCKS = 64


class CommitLocks:
    """A few locks that all lines share; lines that share one only wait for each other."""

    def __init__(self) -> None:
        """Create the locks, all of them free."""
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def of(self, line: str, principal_id: int) -> threading.Lock:
        """Return the lock to hold while a commit is applied."""
        return self._locks[hash((line, principal_id)) % _LOCKS]
