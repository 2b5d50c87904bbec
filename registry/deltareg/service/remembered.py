"""Answers that take long, kept for a while: whoever is given one is told how old it is."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AgedAnswer(Generic[T]):
    """An answer, and how long ago it was worked out, in seconds; 0 for just now."""

    value: T
    age_s: float


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    value: T
    made_at: float
    keep_s: float


class AnswerCache(Generic[T]):
    """Answers by what was asked; threads may share it.

    Nothing here says whether what is remembered still holds. It is for people who look, beside its
    age, and for no rule.
    """

    def __init__(self, *, most: int = 64, clock: Callable[[], float] = time.monotonic) -> None:
        """Remember nothing yet.

        Args:
            most: How many answers to remember; the one that was not asked for longest goes first.
            clock: Gives seconds since whenever.
        """
        self._most, self._clock = most, clock
        self._entries: OrderedDict[Hashable, _Entry[T]] = OrderedDict()
        self._at_work: set[Hashable] = set()
        self._lock = threading.Lock()

    def get(
        self, asked: Hashable, make: Callable[[], T], *, keep_s: Callable[[T], float], is_anew: bool = False
    ) -> AgedAnswer[T]:
        """Give the answer that is remembered, or work it out.

        While one works out anew what is too old, others are given the old answer.

        Args:
            asked: What is asked.
            make: Works it out.
            keep_s: Says of an answer for how many seconds to remember it; 0 for not at all.
            is_anew: Whether what is remembered will not do.
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
