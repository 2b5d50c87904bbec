"""Threads that yield their results in order and never run far ahead."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Self, TypeVar

MOST_WORKERS: Final = 16
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def cores() -> int:
    """Return how many threads are worth starting: one worker per core available to this process."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        count = os.cpu_count() or 1
    return min(count, MOST_WORKERS)


class OrderedPool:
    """A pool whose `map` keeps the order and holds at most two items a worker.

    Use it as a context manager; leaving it waits for running calls and drops waiting ones. One
    worker means no threads at all.
    """

    def __init__(self, workers: int) -> None:
        self._window = 2 * workers
        self._threads = ThreadPoolExecutor(workers, "deltareg-codec") if workers > 1 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)

    def map(self, function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
        """Apply a function to each item; the first error is raised at its place and ends it."""
        if self._threads is None:
            yield from map(function, items)
            return
        waiting: deque[Future[_Result]] = deque()
        try:
            for item in items:
                waiting.append(self._threads.submit(function, item))
                if len(waiting) >= self._window:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
