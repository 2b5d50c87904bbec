"""Commits of one person to one line take turns: what the next is put over is settled by then."""

import threading

_LOCKS = 64


class CommitLocks:
    """A few locks that all lines share; two that meet on one wait for each other, and no more."""

    def __init__(self) -> None:
        """Let everybody go."""
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def of(self, line: str, principal_id: int) -> threading.Lock:
        """Give what is held while a commit is applied."""
        return self._locks[hash((line, principal_id)) % _LOCKS]
