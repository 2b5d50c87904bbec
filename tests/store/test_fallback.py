"""What the first store does not give now is read from its copy, and nothing else goes there."""

import os
from uuid import uuid4

import pytest

from deltareg.digest import sha256_of
from deltareg.errors import BlobMissing, StoreUnavailable
from deltareg.store import FallbackReads, fresh_key
from deltareg.store.memory import MemoryStore

DATA = os.urandom(3 << 20)
KEY = fresh_key(sha256_of(DATA), attempt=uuid4())


class IsAway(MemoryStore):
    """Answers nothing while it is away, and breaks off what it gives where it is told to."""

    def __init__(self):
        super().__init__()
        self.is_away, self.breaks_at = False, None
        self.asked = 0

    def _ask(self):
        self.asked += 1
        if self.is_away:
            raise StoreUnavailable("away")

    def size(self, key):
        self._ask()
        return super().size(key)

    def read(self, key, start=0, stop=None):
        self._ask()
        if self.breaks_at is None:
            return super().read(key, start, stop)
        return self._broken(super().read(key, start, stop))

    def _broken(self, chunks):
        for number, chunk in enumerate(chunks):
            if number == self.breaks_at:
                raise StoreUnavailable("cut off")
            yield chunk

    def url(self, key, *, expires_s):
        return "https://store.example/"


@pytest.fixture
def stores():
    first, second = IsAway(), MemoryStore()
    for store in (first, second):
        store.write(KEY, [DATA])
    return first, second


def test_an_object_comes_from_the_copy_while_the_store_is_away(stores):
    first, second = stores
    now = [0.0]
    reads = FallbackReads(first, second, clock=lambda: now[0])
    assert b"".join(reads.read(KEY)) == DATA
    first.is_away, asked = True, first.asked

    given = [b"".join(reads.read(KEY, 5, 99)) for _ in range(3)]
    first.is_away, now[0] = False, 31.0

    assert given == [DATA[5:99]] * 3
    assert first.asked == asked + 1  # a store that is away is not asked each time
    assert b"".join(reads.read(KEY)) == DATA
    assert first.asked == asked + 2


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_what_breaks_off_goes_on_from_the_copy(stores, broken):
    first, second = stores
    first.breaks_at = broken

    assert b"".join(FallbackReads(first, second).read(KEY, 7)) == DATA[7:]


def test_what_the_store_lost_is_given_and_what_neither_has_is_missing(stores):
    first, second = stores
    reads = FallbackReads(first, second)
    first.delete(KEY)
    assert b"".join(reads.read(KEY)) == DATA
    second.delete(KEY)

    with pytest.raises(BlobMissing):
        reads.read(KEY)
    assert not reads.is_away


def test_nobody_is_sent_to_a_store_that_is_away(stores):
    first, second = stores
    now = [0.0]
    reads = FallbackReads(first, second, clock=lambda: now[0])
    urls = [reads.url(KEY, expires_s=9) for _ in range(3)]
    first.is_away, now[0] = True, 11.0
    away = [reads.url(KEY, expires_s=9) for _ in range(3)]
    first.is_away, now[0] = False, 50.0

    assert urls == ["https://store.example/"] * 3
    assert away == [None] * 3
    assert reads.url(KEY, expires_s=9) is not None
    assert first.asked == 3
