"""The log of a run in progress: a thread that sends its lines in batches.

Logging never waits for the registry and never fails: a log is for people, the verdict does not
depend on it. Lines that cannot be sent now are kept, up to a limit.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from typing import Protocol, Self

from deltareg.errors import DeltaregError, LeaseLost, Unavailable
from deltareg.wire import LeaseGrant, LineSent, LogAppend
from deltareg_verify.messages.report import check_in

log = logging.getLogger(__name__)

_EVERY_S = 0.3
_AGAIN_S = 2.0
_LAST_WORDS_S = 5.0
_BATCH = 100
_LINES_MAX = 5_000
_LINE_BYTES_MAX = 1 << 16
_TEXT_CHARACTERS = 1_000


class LogWriter(Protocol):
    """Appends to the log of a run; `deltareg.client.WorkerClient` does."""

    def append_log(self, run_id: str, lines: LogAppend) -> None:
        """Append lines.

        Raises:
            LeaseLost: The run is somebody else's now.
        """
        ...


class RunLogSender:
    """The log of one run while a `with` block runs; the remaining lines are sent at its end."""

    def __init__(self, writer: LogWriter, grant: LeaseGrant, *, on_lost: Callable[[], None] = lambda: None) -> None:
        """Prepare.

        Args:
            writer: Where lines go.
            grant: The run.
            on_lost: Called when the registry says that the run is not ours any more.
        """
        self._writer = writer
        self._grant = grant
        self._on_lost = on_lost
        self._waiting: list[LineSent] = []
        self._said = self._sent = 0
        self._rest = b""
        self._is_open = True
        self._news = threading.Condition()
        self._thread = threading.Thread(target=partial(copy_context().run, self._send_on), name="run-log", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def say(self, text: str) -> None:
        """Log a sentence."""
        self._add(LineSent(text=_plain(text)))

    def plan(self, checks: Sequence[str]) -> None:
        """Log which checks will run, in their order."""
        self._add(LineSent(plan=list(checks)))

    def hear(self, data: bytes) -> None:
        """Read a child's output in pieces; only outcomes of checks are passed on."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[:_LINE_BYTES_MAX]
        for line in lines:
            result = check_in(line)
            if result is not None:
                self._add(LineSent(check=result))

    def close(self) -> None:
        """Send the remaining lines, for a few seconds at most; may be called twice."""
        with self._news:
            self._is_open = False
            self._news.notify()
        self._thread.join(_LAST_WORDS_S)

    def _add(self, line: LineSent) -> None:
        with self._news:
            if self._is_open and self._said < _LINES_MAX:
                self._said += 1
                self._waiting.append(line)
                self._news.notify()

    def _send_on(self) -> None:
        while batch := self._next_batch():
            try:
                self._send(batch)
            except LeaseLost:
                self._on_lost()
                break
            except DeltaregError as error:
                log.warning("run=%s has no log: %s", self._grant.run, error.message)
                break
            with self._news:
                self._news.wait_for(lambda: not self._is_open, _EVERY_S)

    def _next_batch(self) -> list[LineSent]:
        with self._news:
            self._news.wait_for(lambda: self._waiting or not self._is_open)
            return self._waiting[:_BATCH]

    def _send(self, batch: list[LineSent]) -> None:
        lines = LogAppend(fence=self._grant.fence, first=self._sent, lines=batch)
        try:
            self._writer.append_log(self._grant.run, lines)
        except Unavailable:
            with self._news:
                if not self._is_open:
                    raise
                self._news.wait_for(lambda: not self._is_open, _AGAIN_S)
            return
        with self._news:
            self._sent += len(batch)
            del self._waiting[: len(batch)]


def _plain(text: str) -> str:
    """Cut a text and remove what the registry does not accept."""
    return "".join(c if c.isprintable() else " " for c in text[:_TEXT_CHARACTERS])
