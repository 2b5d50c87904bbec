"""A cache of answers that take long to compute."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    value: T
    ends_at: float


class AnswerCache(Generic[T]):
    """Answers by question; threads may share it.

    A cached answer may be out of date. It is meant for people, and never for a rule.
    """

    def __init__(self, *, most: int = 64, clock: Callable[[], float] = time.monotonic) -> None:
        """Create an empty cache.

        Args:
            most: How many answers to cache; the least recently used goes first.
            clock: Returns seconds since any fixed moment.
        """
        self._most, self._clock = most, clock
        self._entries: OrderedDict[Hashable, _Entry[T]] = OrderedDict()
        self._at_work: set[Hashable] = set()
        self._lock = threading.Lock()

    def get(self, asked: Hashable, make: Callable[[], T], *, keep_s: float) -> T:
        """Return the cached answer, or compute it.

        While one thread recomputes an answer that is too old, others get the old one.

        Args:
            asked: The question.
            make: Computes the answer.
            keep_s: For how many seconds to cache the answer.
        """
        with self._lock:
            entry = self._entries.get(asked)
            if entry is not None and (self._clock() < entry.ends_at or asked in self._at_work):
                self._entries.move_to_end(asked)
                return entry.value
            self._at_work.add(asked)
        try:
            value = make()
        finally:
            with self._lock:
                self._at_work.discard(asked)
        self._keep(asked, _Entry(value, self._clock() + keep_s))
        return value

    def _keep(self, asked: Hashable, entry: _Entry[T]) -> None:
        with self._lock:
            self._entries.pop(asked, None)
            self._entries[asked] = entry
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)
