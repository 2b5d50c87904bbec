"""Notes of pulls, held in memory and written some seconds later by a thread of the server.

A pull reads many packs and must not wait for a write, so all that giving out bytes costs is a look
into a dictionary. A process that is killed loses the notes of the last seconds.
"""

import threading
import time
from collections.abc import Callable

import sqlalchemy as sa

from deltareg.db.lines.pulls import add_pulls
from deltareg.db.session import with_retry

HOUR_S = 3_600.0
_MOST = 20_000
_Pull = tuple[int, int]


class PullNotes:
    """Pulls by (version, principal) that are not written yet; threads share it."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Start without notes; `clock` returns seconds since any fixed moment."""
        self._clock = clock
        self._lock = threading.Lock()
        self._noted: dict[_Pull, float] = {}
        self._waiting: set[_Pull] = set()

    def note(self, version_id: int, principal_id: int) -> None:
        """Note a pull, unless the same principal pulled the same version within the hour."""
        pull, now = (version_id, principal_id), self._clock()
        with self._lock:
            at = self._noted.get(pull)
            if at is not None and now - at < HOUR_S:
                return
            if len(self._noted) >= _MOST:
                self._noted = {each: at for each, at in self._noted.items() if now - at < HOUR_S / 2}
                if len(self._noted) >= _MOST:
                    self._noted.clear()  # the database leaves out what was counted within the hour
            self._noted[pull] = now
            self._waiting.add(pull)

    def write(self, engine: sa.Engine) -> int:
        """Write what waits and return how many there were; what fails waits on.

        Raises:
            Unavailable: The database does not answer.
        """
        with self._lock:
            pulled, self._waiting = self._waiting, set()
        if not pulled:
            return 0
        try:
            with_retry(engine, lambda conn: add_pulls(conn, pulled))
        except BaseException:
            with self._lock:
                self._waiting |= pulled
            raise
        return len(pulled)
