"""A cache of answers that take long to compute, each returned with its age."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AgedAnswer(Generic[T]):
    """An answer and its age in seconds; 0 if it was computed just now."""

    value: T
    age_s: float


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    value: T
    made_at: float
    keep_s: float


class AnswerCache(Generic[T]):
    """Answers by question; threads may share it.

    A cached answer may be out of date. It is meant for people, who see its age, and never for a
    rule.
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

    def get(
        self, asked: Hashable, make: Callable[[], T], *, keep_s: Callable[[T], float], is_anew: bool = False
    ) -> AgedAnswer[T]:
        """Return the cached answer, or compute it.

        While one thread recomputes an answer that is too old, others get the old one.

        Args:
            asked: The question.
            make: Computes the answer.
            keep_s: Returns for how many seconds to cache an answer; 0 for not at all.
            is_anew: Whether to ignore a cached answer.
        """
        with self._lock:
            entry = self._entries.get(asked)
            if entry is not None and not is_anew:
                age_s = self._clock() - entry.made_at
                if age_s < entry.keep_s or asked in self._at_work:
                    self._entries.move_to_end(asked)
                    return AgedAnswer(entry.value, age_s)
            self._at_work.add(asked)
        try:
            value = make()
        finally:
            with self._lock:
                self._at_work.discard(asked)
        self._keep(asked, _Entry(value, self._clock(), keep_s(value)))
        return AgedAnswer(value, 0.0)

    def _keep(self, asked: Hashable, entry: _Entry[T]) -> None:
        with self._lock:
            self._entries.pop(asked, None)
            if entry.keep_s > 0:
                self._entries[asked] = entry
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)
