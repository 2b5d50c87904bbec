"""Signals that end a program: Ctrl-C while it starts, and requests to stop while it runs.

Nothing is imported at the top but what Python has loaded anyway, for this is what comes first.
"""

import signal
from collections.abc import Callable


class ending_at_once:  # noqa: N801  # a context manager; contextlib would come late
    """Let Ctrl-C end the process while the block imports what a start needs.

    Python raises it wherever it is, and in the midst of imports some of them swallow it. Where
    somebody else handles the signal, or it is ignored, nothing changes.
    """

    def __enter__(self) -> None:
        """Give the signal back to the system."""
        self._is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._is_ours:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

    def __exit__(self, *_: object) -> None:
        """Have it raised again."""
        if self._is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def ask_on_signals(ask: Callable[[], None], *numbers: signal.Signals) -> None:
    """Have a thread of its own call `ask` at each of these signals.

    A handler runs in the midst of what the main thread does. Were it to set an event that the main
    thread is just about to wait for, it would wait for the event's lock for ever, as the one who
    holds it is itself. `SimpleQueue.put` is what Python documents as safe there. Only the main
    thread may call this.
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
