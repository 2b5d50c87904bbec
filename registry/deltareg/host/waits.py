"""Waiting for threads so that Ctrl-C always works."""

from concurrent.futures import Future, wait
from typing import Final, TypeVar

_LOOK_S: Final = 0.5
_Result = TypeVar("_Result")


def interruptible(future: Future[_Result]) -> _Result:
    """Return the result of a thread, which may take long.

    A signal that arrives just before `future.result()` begins to wait is only recorded, and the
    wait continues. So this function wakes up now and then.

    Raises:
        Exception: The exception of the thread.
    """
    while not future.done():
        wait((future,), _LOOK_S)
    return future.result()
