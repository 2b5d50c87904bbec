"""Waits for threads that Ctrl-C always ends."""

from concurrent.futures import Future, wait
from typing import Final, TypeVar

_LOOK_S: Final = 0.5
_Result = TypeVar("_Result")


def interruptible(future: Future[_Result]) -> _Result:
    """Give what a thread makes, which may take long.

    A signal that comes in the moment before `future.result()` begins to wait is only noted, and
    the wait goes on as if it had not come. So this one looks up now and then.

    Raises:
        Exception: What the thread raised.
    """
    while not future.done():
        wait((future,), _LOOK_S)
    return future.result()
