"""Slots for dear work, which rest while somebody else works.

A list that is written, or a long document that is checked, computes in a thread, and the interpreter runs one thread at
a time: whoever works beside a list that never ends would wait for half of their time and more. With a rest of three
times what it took, a quarter of the time is dear; with one of eight times, for whoever asks for more than a list now
and then, a ninth. Nobody rests where nobody else works, nor for so long that their next request would be refused.
"""

import asyncio
import sys
import time
from collections import deque
from collections.abc import Hashable

from deltareg.api.overload.slots import FairSlots

_NEAR_S = 1.0
_REST, _LONG_REST, _REST_MOST_S = 3.0, 8.0, 10.0
_MUCH_S, _HALF_FORGOTTEN_S = 0.5, 5.0  # who spent so much dear time lately rests long
_SOON_S, _USUAL_S = 0.0005, sys.getswitchinterval()


class Neighbours:
    """Who works beside whom in one server process; used on the event loop alone."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._latest: dict[Hashable, float] = {}
        self._dear = 0

    def note(self, holder: Hashable) -> None:
        """Note that somebody works now."""
        now = time.monotonic()
        self._latest.pop(holder, None)
        self._latest[holder] = now
        while (first := next(iter(self._latest))) != holder and self._latest[first] < now - _NEAR_S:
            del self._latest[first]

    def has(self, holder: Hashable) -> bool:
        """Whether somebody has neighbours: others who worked within the last second."""
        since = time.monotonic() - _NEAR_S
        return any(at > since for other, at in self._latest.items() if other != holder)

    def begin(self) -> None:
        """Begin dear work: meanwhile threads give way to each other sooner.

        A request gives way at each statement to the database, and beside dear work it would wait the usual 5 ms each
        time. Always to give way soon costs resolves a tenth more, for nothing.
        """
        self._dear += 1
        sys.setswitchinterval(_SOON_S)

    def end(self) -> None:
        """End dear work."""
        self._dear -= 1
        if not self._dear:
            sys.setswitchinterval(_USUAL_S)


class RestingSlots(FairSlots):
    """Slots for dear work; one that was left is free for the next after a rest, if its holder has neighbours."""

    def __init__(
        self, slots: int, *, neighbours: Neighbours, what: str, patience_s: float, may_hold_all: bool = False
    ) -> None:
        """Begin with all of them free; the arguments are those of `FairSlots`.

        Args:
            slots: How many there are.
            neighbours: Who works beside whom.
            what: What somebody waits for, in the error.
            patience_s: How long a request waits for its turn, seconds.
            may_hold_all: Whether one holder may have all of it.
        """
        super().__init__(slots, what=what, patience_s=patience_s, may_hold_all=may_hold_all)
        self._neighbours = neighbours
        self._rest_most_s = min(_REST_MOST_S, patience_s / 2)
        self._began: dict[Hashable, deque[float]] = {}
        self._spent: dict[Hashable, tuple[float, float]] = {}  # dear seconds lately, and when they were counted

    def _give(self, holder: Hashable, slots: int) -> None:
        super()._give(holder, slots)
        self._began.setdefault(holder, deque()).append(time.monotonic())
        self._neighbours.begin()

    def leave(self, holder: Hashable, slots: int = 1) -> None:
        """Give slots back: now, or after a rest."""
        began = self._began[holder].popleft()
        if not self._began[holder]:
            del self._began[holder]
        self._neighbours.end()
        if not self._neighbours.has(holder):
            super().leave(holder, slots)
            return
        asyncio.get_running_loop().call_later(self._rest_s(holder, began), super().leave, holder, slots)

    def _rest_s(self, holder: Hashable, began: float) -> float:
        now = time.monotonic()
        took_s = now - began
        before_s, at = self._spent.pop(holder, (0.0, now))
        spent_s = before_s * 0.5 ** ((now - at) / _HALF_FORGOTTEN_S) + took_s
        self._spent[holder] = spent_s, now
        while (first := next(iter(self._spent))) != holder and self._spent[first][1] < now - 10 * _HALF_FORGOTTEN_S:
            del self._spent[first]
        return min(self._rest_most_s, took_s * (_LONG_REST if spent_s > _MUCH_S else _REST))
