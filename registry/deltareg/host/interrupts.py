"""Signals that end a program: Ctrl-C during its start, and requests to stop while it runs.

Only modules that Python has loaded anyway are imported at the top, since this module comes first.
"""

import _thread
import os
import signal
import sys
import time
from collections.abc import Callable

_AGAIN_S = 0.01


class ending_at_once:  # noqa: N801  # a context manager; contextlib would come late
    """Let Ctrl-C end the process while the block imports what a start needs.

    Python raises KeyboardInterrupt wherever it is, and some imports swallow it. If the signal has
    another handler, or is ignored, nothing changes.
    """

    def __enter__(self) -> None:
        """Restore the system's default handling of the signal."""
        self._is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._is_ours:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

    def __exit__(self, *_: object) -> None:
        """Let Python raise it again."""
        if self._is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def repeat_lost_interrupts() -> None:
    """Repeat a Ctrl-C whose KeyboardInterrupt Python drops, as while a weak reference is cleared."""

    def hear(dropped: "sys.UnraisableHookArgs") -> None:
        if dropped.exc_type is KeyboardInterrupt:
            _thread.start_new_thread(_interrupt_again, ())  # `threading` takes locks that may be held here
        else:
            sys.__unraisablehook__(dropped)

    sys.unraisablehook = hear


def _interrupt_again() -> None:
    time.sleep(_AGAIN_S)  # the main thread must have left what dropped it
    os.kill(os.getpid(), signal.SIGINT)


def ask_on_signals(ask: Callable[[], None], *numbers: signal.Signals) -> None:
    """Start a thread that calls `ask` at each of these signals.

    A handler interrupts the main thread at any point. If it set an event that the main thread is
    just about to wait for, it could wait forever for the event's lock, which the same thread holds.
    `SimpleQueue.put` is what Python documents as safe there. Only the main thread may call this.
    """
    import threading
    from queue import SimpleQueue

    signals: SimpleQueue[int] = SimpleQueue()

    def listen() -> None:
        while True:
            signals.get()
            ask()

    threading.Thread(target=listen, name="signals", daemon=True).start()
    for number in numbers:
        signal.signal(number, lambda number, _frame: signals.put(number))
