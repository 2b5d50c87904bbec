"""Retries requests after failures that may pass, with growing pauses, for a while.

A server that is being restarted refuses connections for some seconds and cuts those that it has;
one that is overloaded, or whose database is away, says so with a 503. Neither is a reason to fail.
Everything that a client sends is safe to repeat, so one rule serves for all: retry while fewer than
`retries` tries were made or less than `window_s` has passed since the first failure. If nothing
listens at all, only the window counts.

A name that does not resolve, a certificate that is not trusted and plain http where TLS was expected
do not get better by waiting: they end the retries at once, unless this server has answered before. On
this machine, who starts a server sees it: where nothing listens the window is a short one.
"""

import logging
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from deltareg.client.progress import SILENT, Meter, Progress
from deltareg.errors import StoreUnavailable, Unavailable

log = logging.getLogger(__name__)
T = TypeVar("T")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_LONGEST_REFUSED_S = 1.0  # asking costs nobody anything there, and who restarts is soon back
_LONGEST_ASKED_S = 30.0
_HERE_S = 2.0
_WORTH_A_WORD_S = 1.0
SILENCE_S = 10.0
"""How long nothing may come before somebody who watches is told what is waited for."""


class RetryPolicy:
    """Retries requests for one client; safe to use from several threads."""

    def __init__(
        self,
        *,
        retries: int,
        window_s: float,
        is_here: bool = False,
        progress: Progress = SILENT,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set the bounds.

        Args:
            retries: How often to retry at least; 0 for never, whatever the window.
            window_s: How long to retry at least, from the first failure on, in seconds.
            is_here: Whether the server would run on this machine.
            progress: Told when a wait gets long.
            sleep: Waits a number of seconds between tries.
            clock: Returns the time, in seconds.
        """
        self._retries, self._window_s = retries, window_s
        self._refused_s = min(window_s, _HERE_S) if is_here else window_s
        self._sleep, self._clock = sleep, clock
        self._word = _Word(progress)
        self._was_answered = False

    def run(self, act: Callable[[], T], *, is_hasty: bool = False) -> T:
        """Run something, and retry it after failures that may pass.

        Args:
            act: What to run.
            is_hasty: Whether to retry as if there were no window.

        Raises:
            DeltaregError: The failure that cannot pass, or the last one.
        """
        began: float | None = None
        with self._word.one() as tell:
            for attempt, pause_s in enumerate(_pauses()):
                try:
                    result = act()
                except Unavailable as error:
                    now = self._clock()
                    began = now if began is None else began
                    left_s = 0.0 if is_hasty else began + self._window_of(error) - now
                    if self._is_over(error, attempt, left_s):
                        raise
                    if now - began + pause_s >= _WORTH_A_WORD_S:
                        tell(error, left_s)
                    self._sleep(_length(pause_s, error))
                else:
                    self._was_answered = True
                    return result
        raise AssertionError("unreachable: there is always another pause")

    def _window_of(self, error: Unavailable) -> float:
        return self._refused_s if _is_refused(error) and not self._was_answered else self._window_s

    def _is_over(self, error: Unavailable, attempt: int, left_s: float) -> bool:
        if not self._retries or (_is_hopeless(error) and not self._was_answered) or error.is_final:
            return True
        return left_s <= 0 and (attempt >= self._retries or _is_refused(error))

    @contextmanager
    def watch(self, what: str) -> Generator[Callable[[], None], None, None]:
        """Show what is waited for if nothing arrives for a while; yield a function that resets it.

        Args:
            what: What is waited for, as in `http://127.0.0.1:8642 has not answered`.
        """
        silence = _Silence(self._word.progress, what)
        try:
            silence.begin()
            yield silence.begin
        finally:
            silence.end()


def asked_pause_s(header: str | None, *, now: datetime | None = None) -> float:
    """Return how long a `Retry-After` header asks to wait: seconds or a date; 0 if it is neither.

    The result is bounded: a client that is told to come back next week should fail now.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdecimal():
        return min(float(text[:9]), _LONGEST_ASKED_S)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    left_s = (at - (now or datetime.now(UTC))).total_seconds()
    return min(max(left_s, 0.0), _LONGEST_ASKED_S)


def _pauses() -> Iterator[float]:
    pause_s = _FIRST_PAUSE_S
    while True:
        yield pause_s
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


def _length(pause_s: float, error: Unavailable) -> float:
    """Vary a pause at random, so that clients cut off by a restart do not come back together."""
    if _is_refused(error):
        pause_s = min(pause_s, _LONGEST_REFUSED_S)
    own_s = pause_s * random.uniform(0.5, 1.0)  # noqa: S311  # spreads load
    asked_s = error.retry_after_s
    return max(own_s, asked_s + own_s / 2 if asked_s else 0.0)


def _is_hopeless(error: Unavailable) -> bool:
    """Whether waiting cannot help: an unknown name, or a certificate or protocol that is wrong."""
    return any(isinstance(cause, socket.gaierror | ssl.SSLError) for cause in causes_of(error))


def _is_refused(error: Unavailable) -> bool:
    """Whether no registry listens there at all; only time can change that."""
    return not isinstance(error, StoreUnavailable) and any(
        isinstance(cause, ConnectionRefusedError) for cause in causes_of(error)
    )


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors that led to an error, itself first."""
    at: BaseException | None = error
    while at is not None:
        yield at
        at = at.__cause__ or at.__context__  # the HTTP library hides the cause


class _Word:
    """Announces a wait once for all threads that share it, and its end."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._lock = threading.Lock()
        self._meter: Meter | None = None
        self._waiting = 0

    @contextmanager
    def one(self) -> Generator[Callable[[Unavailable, float], None], None, None]:
        """Count one request that may have to wait; yield the function that reports that it does."""
        is_waiting = False

        def tell(error: Unavailable, left_s: float) -> None:
            nonlocal is_waiting
            if not is_waiting:
                is_waiting = True
                self._enter(error, left_s)

        try:
            yield tell
        finally:
            if is_waiting:
                self._leave()

    def _enter(self, error: Unavailable, left_s: float) -> None:
        with self._lock:
            self._waiting += 1
            if self._meter is not None:
                return
            self._meter = self.progress.task("waiting to try again", None)
            again = f"for {left_s:.0f} s" if left_s >= 1 else "a few times"
            text = f"{error.message}; trying again {again}, Ctrl-C ends it"
            log.info("%s", text)
            self._meter.note(text)

    def _leave(self) -> None:
        with self._lock:
            self._waiting -= 1
            if not self._waiting and self._meter is not None:
                self._meter.close()
                self._meter = None


class _Silence:
    """A clock that reports once if it is not reset in time."""

    def __init__(self, progress: Progress, what: str) -> None:
        self._progress, self._what = progress, what
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._meter: Meter | None = None
        self._is_over = progress is SILENT

    def begin(self) -> None:
        """Start the clock again."""
        with self._lock:
            if self._is_over or self._meter is not None:
                return
            if self._timer is not None:
                self._timer.cancel()
            self._timer = threading.Timer(SILENCE_S, self._speak)
            self._timer.daemon = True
            self._timer.start()

    def end(self) -> None:
        """Stop the clock."""
        with self._lock:
            self._is_over = True
            if self._timer is not None:
                self._timer.cancel()
            if self._meter is not None:
                self._meter.close()

    def _speak(self) -> None:
        with self._lock:
            if self._is_over:
                return
            self._meter = self._progress.task("waiting for an answer", None)
            self._meter.note(f"{self._what} for {SILENCE_S:.0f} s; it may be waiting for its store")
