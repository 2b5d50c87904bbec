"""The server's log: a line for each thing that an operator cares about, and no more than that.

A fault that has a name (the database is away, the disk is full) is one line with the request's id,
whatever was raised below it. When such lines come by the hundred, as while a database restarts, the
first is written and then one every few seconds, with the count of the others. Traces are for bugs.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, Literal

from deltareg.documents.json_values import is_object
from deltareg.host.secrets_left_out import leave_out_secrets
from deltareg.host.time_spent import SPENT

LogLevel = Literal["debug", "info", "warning", "error"]
LogForm = Literal["text", "json"]
PERIOD_S = 10.0
_POOL = "sqlalchemy.pool"
_TALKATIVE: Final = ("boto3", "botocore", "s3transfer", "urllib3", "httpcore", "httpx", "multipart", "asyncio")
"""Libraries that write signed headers and bodies when they may write everything."""


def start_log(*, level: LogLevel = "warning", form: LogForm = "text") -> None:
    """Write lines of a level and above to stderr from now on; the last call holds.

    Args:
        level: `info` has a line for each request that is answered.
        form: `json` has an object a line.
    """
    handler = logging.StreamHandler()
    handler.addFilter(LogRateFilter())
    handler.setFormatter(JsonLineFormatter() if form == "json" else TextLineFormatter())
    number = getattr(logging, level.upper())
    logging.basicConfig(level=number, handlers=[handler], force=True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))


class TextLineFormatter(logging.Formatter):
    """Writes time with zone, level, logger, and what happened; then fields, if the record has some."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record; secrets are left out."""
        said = [record.getMessage(), *(f"{name}={value}" for name, value in fields_of(record).items() if value != "")]
        if record.exc_info:
            said.append("\n" + self.formatException(record.exc_info))
        line = f"{_time(record)} {record.levelname} {record.name}: {' '.join(said)}"
        return leave_out_secrets(line)


class JsonLineFormatter(logging.Formatter):
    """Writes a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record; secrets are left out."""
        said: dict[str, object] = {
            "at": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": leave_out_secrets(record.getMessage()),
            **fields_of(record),
        }
        if record.exc_info:
            said["exception"] = leave_out_secrets(self.formatException(record.exc_info))
        return json.dumps(said, default=str)


def fields_of(record: logging.LogRecord) -> Mapping[str, object]:
    """Return the fields of a record: its own, and the id of the request in which it was written."""
    own = getattr(record, "fields", None)
    fields: dict[str, object] = dict(own) if is_object(own) else {}
    if "request_id" not in fields and (spent := SPENT.get()) is not None:
        fields["request_id"] = spent.request_id
    return fields


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


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
