"""Asks a worker to stop: at once while it waits for work, after a grace while it works."""

import signal
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

_LOOK_S = 0.1


class StopSignal:
    """Whether the worker is to stop, and how long its run may still take."""

    def __init__(self, grace_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._grace_s = grace_s
        self._clock = clock
        # Plain facts: what a handler sets must need no lock, the main thread may hold it.
        self._is_asked = False
        self._deadline = 0.0
        self._is_waiting = False

    @property
    def is_asked(self) -> bool:
        """Whether somebody asked it to stop."""
        return self._is_asked

    @property
    def is_overdue(self) -> bool:
        """Whether the grace is over."""
        return self.is_asked and self._clock() >= self._deadline

    def ask(self) -> None:
        """Ask the worker to stop; a second time takes its grace away."""
        self._deadline = self._clock() + (0.0 if self._is_asked else self._grace_s)
        self._is_asked = True

    def pause(self, seconds: float) -> None:
        """Wait, but return at once when asked to stop."""
        until = time.monotonic() + seconds
        while not self._is_asked and (left_s := until - time.monotonic()) > 0:
            time.sleep(min(left_s, _LOOK_S))

    @contextmanager
    def waiting(self) -> Generator[None]:
        """Mark a wait that a signal may end by ending the process, as nothing would be lost."""
        self._is_waiting = True
        try:
            if self._is_asked:  # between the caller's look and here
                raise SystemExit(0)
            yield
        finally:
            self._is_waiting = False

    def listen(self) -> None:
        """Have SIGTERM and SIGINT ask to stop; only the main thread may call this."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.ask()
        if self._is_waiting:
            raise SystemExit(0)
