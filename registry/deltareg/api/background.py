"""Threads that work beside a server for as long as it runs."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

Work = Callable[[threading.Event], None]


@contextmanager
def running(work: Work, *, name: str) -> Generator[None, None, None]:
    """Run something in a thread while the block lasts; at the end, wait until it returns.

    Args:
        work: Gets the event that is set when the block ends, and returns soon after that.
        name: The thread's name.
    """
    ended = threading.Event()
    working = threading.Thread(target=work, args=(ended,), daemon=True, name=name)
    working.start()
    try:
        yield
    finally:
        ended.set()
        working.join()
