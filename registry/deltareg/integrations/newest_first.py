"""Background work of which only the newest waits, for a loop that must not wait for it."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class LatestOnlyQueue(Generic[T]):
    """Does one thing at a time in a thread; a waiting thing is replaced by a newer one.

    If a loop makes things faster than they are done, some are left out, and none pile up. The
    thread ends when nothing waits, or with its process.
    """

    def __init__(self, do: Callable[[T], None], pass_over: Callable[[T], None]) -> None:
        """Prepare.

        Args:
            do: Does a thing; runs in the thread, and must not raise.
            pass_over: Called with what is left out.
        """
        self._do, self._pass_over = do, pass_over
        self._changed = threading.Condition()
        self._waiting: T | None = None
        self._is_busy = False

    def put(self, thing: T) -> None:
        """Have a thing done as soon as nothing else is being done; return at once."""
        with self._changed:
            older, self._waiting = self._waiting, thing
            if not self._is_busy:
                self._is_busy = True
                threading.Thread(target=self._work, name="pushes beside a training", daemon=True).start()
        if older is not None:
            self._pass_over(older)

    def wait(self, timeout_s: float) -> bool:
        """Wait until everything is done; return false if that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._is_busy, timeout_s)

    def _work(self) -> None:
        try:
            while (thing := self._next()) is not None:
                self._do(thing)
        except BaseException:  # a mistake of ours: told by the thread's end, and nobody waits for it
            self._end()
            raise

    def _next(self) -> T | None:
        with self._changed:
            thing, self._waiting = self._waiting, None
            if thing is None:
                self._is_busy = False
                self._changed.notify_all()
            return thing

    def _end(self) -> None:
        with self._changed:
            self._is_busy = False
            self._changed.notify_all()
