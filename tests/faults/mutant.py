"""An API server with a bug, for harnesses to find: rows are committed before their bytes.

Its store keeps what it is given in memory, says that it is done, and writes to the disk a little
later. Nothing shows while it lives; killed in between, it has acknowledged what is nowhere.
"""

import threading

from deltareg.api import serve
from deltareg.api.__main__ import main
from deltareg.store import open_store

LATE_S = 0.4


class LateStore:
    """Wraps a store; objects are readable at once and written `LATE_S` later."""

    def __init__(self, store):
        self._store = store
        self._held = {}

    def __getattr__(self, name):
        return getattr(self._store, name)

    def write(self, key, body):
        data = b"".join(body)
        self._held[key] = data
        timer = threading.Timer(LATE_S, self._flush, (key,))
        timer.daemon = True
        timer.start()
        return len(data)

    def read(self, key, start=0, stop=None):
        held = self._held.get(key)
        return self._store.read(key, start, stop) if held is None else iter([held[start:stop]])

    def size(self, key):
        held = self._held.get(key)
        return self._store.size(key) if held is None else len(held)

    def delete(self, key):
        self._held.pop(key, None)
        self._store.delete(key)

    def _flush(self, key):
        data = self._held.get(key)
        if data is not None:
            self._store.write(key, [data])
            self._held.pop(key, None)


if __name__ == "__main__":
    setattr(  # noqa: B010  # the module does not export it
        serve, "open_store", lambda *args, **options: LateStore(open_store(*args, **options))
    )
    main()
