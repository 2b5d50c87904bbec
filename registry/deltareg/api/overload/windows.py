"""Counters of sliding windows, as the library `limits` asks for them: in memory, bounded, without threads.

The library's own storage in memory starts a thread for each hundredth of a second with a request, which goes through
all keys; and it keeps as many keys as clients make up.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import floor

from limits.storage import Storage
from limits.storage.base import SlidingWindowCounterSupport

_MOST_KEYS = 20_000


@dataclass(slots=True)
class _Window:
    number: int
    before: int
    count: int


class WindowStore(Storage, SlidingWindowCounterSupport):
    """The counters of one process, the longest unused dropped first; used on the event loop alone.

    Attributes:
        used: How many hits count for the key that was counted last.
    """

    STORAGE_SCHEME = None

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        """Begin empty.

        Args:
            clock: The time, in seconds since the epoch, as the library reads it.
        """
        super().__init__()
        self._clock = clock
        self._windows: OrderedDict[str, _Window] = OrderedDict()
        self.used = 0

    @property
    def base_exceptions(self) -> type[Exception]:
        """The errors of the storage: it has none."""
        return ValueError

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count a hit if the limit allows it."""
        window = self._window(key, expiry)
        before, ttl, count, _ = self._info(window, expiry)
        self.used = floor(before * ttl / expiry + count) + amount
        if self.used > limit:
            return False
        window.count += amount
        return True

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Return the hits of the window before and of this one, each with the seconds that it still counts."""
        return self._info(self._window(key, expiry), expiry)

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forget a key."""
        self._windows.pop(key, None)

    def _window(self, key: str, expiry: int) -> _Window:
        number = int(self._clock() // expiry)
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window(number, 0, 0)
            if len(self._windows) > _MOST_KEYS:
                self._windows.popitem(last=False)
        elif window.number != number:
            window.before = window.count if window.number == number - 1 else 0
            window.number, window.count = number, 0
        self._windows.move_to_end(key)
        return window

    def _info(self, window: _Window, expiry: int) -> tuple[int, float, int, float]:
        left_s = expiry - self._clock() % expiry
        return window.before, left_s if window.before else 0.0, window.count, left_s + expiry

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count hits of a fixed window."""
        window = self._window(key, expiry)
        window.count += amount
        return window.count

    def get(self, key: str) -> int:
        """Return the hits of a key."""
        window = self._windows.get(key)
        return 0 if window is None else window.count

    def get_expiry(self, key: str) -> float:
        """Return when a key is forgotten; one of windows is when its turn comes."""
        return self._clock()

    def check(self) -> bool:
        """Whether the storage works; memory does."""
        return True

    def reset(self) -> int:
        """Forget everything."""
        count = len(self._windows)
        self._windows.clear()
        return count

    def clear(self, key: str) -> None:
        """Forget a key."""
        self._windows.pop(key, None)
