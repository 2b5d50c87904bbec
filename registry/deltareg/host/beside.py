"""Work on one item while the next one is made."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_beside(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Apply a function to each item in another thread, while this one makes the next item.

    Results come in order, and at most two items are held. The first error is raised at its place and ends it.
    """
    before: Future[Result] | None = None
    with ThreadPoolExecutor(1, "deltareg-beside") as thread:
        for item in items:
            now = thread.submit(function, item)
            if before is not None:
                yield before.result()
            before = now
        if before is not None:
            yield before.result()
