"""Work that is done while the result before it is being used."""

from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

from deltareg.host.waits import interruptible

T = TypeVar("T")
_END = object()


def made_ahead(items: Iterable[T]) -> Generator[T]:
    """Give items while a thread of its own makes the next one.

    One item is held beside the one that was given. What making an item raises is raised where it
    would have been given; a caller that stops waits for the one that is being made.
    """
    coming = iter(items)
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, coming, _END)
        while (item := interruptible(following)) is not _END:
            following = pool.submit(next, coming, _END)
            yield cast("T", item)
