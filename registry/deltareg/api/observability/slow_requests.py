"""Records the requests that took long, and all of pushes, with where their time went; a few files hold the newest.

It stands in files on the server's own disk, since what makes requests slow may be the database. A line is
added after the answer is sent, in memory first: the disk is written every few seconds by a thread.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, Protocol, cast

from deltareg.api.observability.request_record import RequestRecord
from deltareg.documents.json_values import is_object, parse_json
from deltareg.host.secrets_left_out import leave_out_secrets

log = logging.getLogger(__name__)

SLOW_S: Final = 1.0
"""A request that takes longer is recorded, unless it waits for something to happen."""
_PUSH: Final = "/uploads"
_FILE_BYTES: Final = 4 << 20
_FILES: Final = 4
_WAITING_MOST: Final = 10_000
_DIGITS_OF_S: Final = 6
"""Microseconds: a push has thousands of short requests, whose parts are summed."""
_NAME: Final = "slow-requests"


class SlowRequests(Protocol):
    """What slow requests are told to."""

    def note(self, record: RequestRecord, *, is_patient: bool) -> None:
        """Record a request if it was slow."""
        ...


class _Nowhere:
    """Records nothing."""

    def note(self, record: RequestRecord, *, is_patient: bool) -> None:
        pass


NOWHERE: Final[SlowRequests] = _Nowhere()


class SlowRequestFiles:
    """Records slow requests in files of a folder, at most 16 MiB of them: some 50,000 lines."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        """Record in a folder, which is made with the first line.

        Args:
            folder: The folder.
            clock: Returns the time, seconds since 1970.
        """
        self._folder, self._clock = folder, clock
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._has_failed = False

    def note(self, record: RequestRecord, *, is_patient: bool) -> None:
        """Record a request if it was slow, or part of a push."""
        if (is_patient or record.seconds < SLOW_S) and _PUSH not in record.route:
            return
        line = {
            "at": round(self._clock(), 3),
            "method": record.method,
            "route": record.route,
            "about": record.subject,
            "by": record.principal,
            "request": record.request_id,
            "status": record.status,
            "s": round(record.seconds, _DIGITS_OF_S),
            "received": record.received_bytes,
            "sent": record.sent_bytes,
            "statements": record.spent.statements,
            "store_calls": record.spent.store_calls,
            "parts": {part: round(seconds, _DIGITS_OF_S) for part, seconds in record.spent.parts().items()},
        }
        with self._lock:
            if len(self._lines) < _WAITING_MOST:
                self._lines.append(leave_out_secrets(json.dumps(line)))

    def write(self) -> None:
        """Write what waits; a disk that takes nothing costs the lines, and a warning once."""
        with self._lock:
            lines, self._lines = self._lines, []
        if not lines:
            return
        newest = self._folder / f"{_NAME}.0.jsonl"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if newest.exists() and newest.stat().st_size >= _FILE_BYTES:
                self._turn()
            with newest.open("a", encoding="utf-8") as file:
                file.write("".join(f"{line}\n" for line in lines))
            self._has_failed = False
        except OSError as error:
            if not self._has_failed:
                log.warning("slow requests are not recorded in %s: %s", self._folder, error.strerror)
            self._has_failed = True

    def _turn(self) -> None:
        for number in reversed(range(_FILES - 1)):
            with suppress(FileNotFoundError):
                (self._folder / f"{_NAME}.{number}.jsonl").replace(self._folder / f"{_NAME}.{number + 1}.jsonl")


def read_slow_requests(folder: Path, *, since: float) -> Iterator[dict[str, object]]:
    """Yield the recorded requests that ended after a time, oldest first; lines that were cut are left out."""
    for number in reversed(range(_FILES)):
        path = folder / f"{_NAME}.{number}.jsonl"
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                yield from filter(partial(_is_since, since), map(_read_line, file))
        except FileNotFoundError:
            continue


def _read_line(line: str) -> dict[str, object]:
    try:
        value: object = parse_json(line)
    except ValueError:
        return {}
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _is_since(since: float, line: dict[str, object]) -> bool:
    at, parts = line.get("at"), line.get("parts")
    numbers = [at, line.get("s"), *(parts.values() if is_object(parts) else [None])]
    if not isinstance(line.get("status"), int) or not all(isinstance(number, int | float) for number in numbers):
        return False
    return cast("float", at) >= since
