"""The storm: faults drawn by a seed, two at a time, until it is over."""

import random
import threading
from collections import Counter

from tests.faults.storms.kinds import all_kinds

AT_ONCE = 2


class Storm:
    """Breaks a site; a context manager, after which everything is whole.

    Attributes:
        done: How often each fault was struck.
        told: Each of them, in words.
        failed: What a fault itself could not do.
    """

    def __init__(self, site, journal, *, seed, breath_s=(2.0, 9.0)):
        self.site, self.journal = site, journal
        self.done: Counter[str] = Counter()
        self.told, self.failed = [], []
        self._breath_s = breath_s
        self._kinds = all_kinds()
        self._busy = {name: threading.Lock() for name in self._kinds}
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._rage, args=(random.Random(seed * 1000 + number),))
            for number in range(AT_ONCE)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()
        self.site.heal()

    def _rage(self, chance):
        while not self._over.wait(chance.uniform(*self._breath_s)):
            names = chance.sample(sorted(self._kinds), len(self._kinds))
            for name in names:
                if self._over.is_set():
                    return
                if self._busy[name].acquire(blocking=False):
                    try:
                        self._strike(name, chance)
                    finally:
                        self._busy[name].release()
                    self._over.wait(chance.uniform(*self._breath_s))

    def _strike(self, name, chance):
        try:
            told = self._kinds[name](self.site, chance)
        except Exception as error:  # noqa: BLE001  # the storm goes on; a fault that never works is found by its count
            self.failed.append(f"{name}: {error!r}")
            return
        if told:
            self.done[name] += 1
            self.told.append(f"{name}: {told}")
            self.journal.write("fault", name=name, told=told)
