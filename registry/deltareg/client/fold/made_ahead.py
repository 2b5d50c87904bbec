"""Computes the next item while the current one is being used."""

from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

from deltareg.host.waits import interruptible

T = TypeVar("T")
_END = object()


def made_ahead(items: Iterable[T]) -> Generator[T]:
    """Yield items while a thread computes the next one.

    One item is held beside the one just yielded. An error in computing an item is raised in its
    place; a caller that stops early waits for the one under way.
    """
    coming = iter(items)
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, coming, _END)
        while (item := interruptible(following)) is not _END:
            following = pool.submit(next, coming, _END)
            yield cast("T", item)
