"""The server's log: a line for each thing that an operator cares about, and no more than that.

A fault that has a name (the database is away, the disk is full) is one line with the request's id,
whatever was raised below it. When such lines come by the hundred, as while a database restarts, the
first is written and then one every few seconds, with the count of the others. Traces are for bugs.
"""

import logging
import threading
import time
from collections.abc import Callable

PERIOD_S = 10.0
_POOL = "sqlalchemy.pool"


def start_log() -> None:
    """Write warnings and errors to stderr from now on."""
    handler = logging.StreamHandler()
    handler.addFilter(LogRateFilter())
    form = "%(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.WARNING, format=form, handlers=[handler])


class LogRateFilter(logging.Filter):
    """Passes the first line of a series, and then one per period with the count of the others.

    A record's `series` names its series. The connection pool's records about broken connections are
    one series, without their traces: whoever asked for the connection reports the error as well.
    """

    def __init__(self, *, period_s: float = PERIOD_S, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with no series."""
        super().__init__()
        self._period_s, self._clock = period_s, clock
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write a record; the number of suppressed ones is added to its message."""
        series = getattr(record, "series", "")
        if record.name.startswith(_POOL):
            series, record.exc_info, record.exc_text = _POOL, None, None
        if not isinstance(series, str) or not series:
            return True
        with self._lock:
            now = self._clock()
            if now - self._last.get(series, float("-inf")) < self._period_s:
                self._left_out[series] = self._left_out.get(series, 0) + 1
                return False
            self._last[series] = now
            others = self._left_out.pop(series, 0)
        if others:
            record.msg = f"{record.getMessage()} (and {others} more of these since the last line)"
            record.args = ()
        return True
