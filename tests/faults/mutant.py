"""An API server with a bug, for harnesses to find: `mutant.py BUG run`.

`rows-first`: rows are committed before their bytes. The store keeps what it is given in memory,
says that it is done, and writes to the disk a little later; killed in between, the server has
acknowledged what is nowhere.

`bytes-first`: bytes are written before any row knows their key; killed in between, the server
leaves an object that no collection can find.
"""

import sys
import threading
import time

from deltareg.api import opening
from deltareg.api.__main__ import main
from deltareg.db.storage import uploads as queries
from deltareg.store import open_store

LATE_S = 0.4
GAP_S = 0.05


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


def rows_first():
    patch(opening, "open_store", lambda *args, **options: LateStore(open_store(*args, **options)))


def bytes_first():
    """Hold the row of a key back until the pack is received, which is after its bytes are there."""
    held: dict[int, tuple] = {}
    add, receive = queries.add_upload_pack, queries.receive_upload_pack

    def add_later(conn, upload_id, *, number, physical_key):
        held[len(held) + 1] = (upload_id, number, physical_key)
        return len(held)

    def receive_both(conn, pack_id, **facts):
        time.sleep(GAP_S)
        upload_id, number, physical_key = held[pack_id]
        row_id = add(conn, upload_id, number=number, physical_key=physical_key)
        return receive(conn, row_id, **facts)

    patch(queries, "add_upload_pack", add_later)
    patch(queries, "receive_upload_pack", receive_both)


def patch(module, name, value):
    """Put the bug in; the name is not one that the module means to be replaced."""
    assert hasattr(module, name)
    vars(module)[name] = value


if __name__ == "__main__":
    {"rows-first": rows_first, "bytes-first": bytes_first}[sys.argv.pop(1)]()
    main()
