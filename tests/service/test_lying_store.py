"""A store that lies for a moment: what is damaged has the same wrong bytes each time, and nothing else is marked."""

import itertools
import uuid

import pytest

from deltareg.db.storage.rows import PackRow
from deltareg.digest import sha256_of
from deltareg.errors import StoreUnavailable
from deltareg.service.push.damage import what_is_wrong
from deltareg.store.memory import MemoryStore

DATA = b"what was pushed"


class Lying(MemoryStore):
    """Answers a number of reads with other bytes: each time the same ones, or others."""

    def __init__(self, lies, *, is_steady=False):
        super().__init__()
        self._lies = iter(range(lies))
        self._is_steady = is_steady
        self._turn = itertools.count()

    def read(self, key, start=0, stop=None):
        if next(self._lies, None) is None:
            return super().read(key, start, stop)
        changed = bytearray(DATA)
        changed[0 if self._is_steady else next(self._turn)] ^= 1
        return iter([bytes(changed)])


def pack_in(store):
    digest = str(sha256_of(DATA))
    key = f"blobs/{digest.removeprefix('sha256:')}/{uuid.uuid4()}"
    store.write(key, [DATA])
    return PackRow(1, "lab", digest, key, len(DATA))


def test_one_lie_is_no_damage():
    store = Lying(1)

    assert what_is_wrong(store, pack_in(store), reads=True) == ""


def test_a_store_that_says_something_else_each_time_is_away():
    store = Lying(2)

    with pytest.raises(StoreUnavailable, match="other bytes"):
        what_is_wrong(store, pack_in(store), reads=True)


def test_the_same_wrong_bytes_are_damage():
    store = Lying(2, is_steady=True)

    assert " holds sha256:" in what_is_wrong(store, pack_in(store), reads=True)
