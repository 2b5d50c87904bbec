"""The second store gets what it lacks: whole, once, by whichever server, and nothing is taken from it."""

from contextlib import suppress

import pytest

from deltareg.digest import sha256_of
from deltareg.errors import StoreUnavailable
from deltareg.service.operations.operations import show_operation
from deltareg.service.registry import Registry
from deltareg.service.upkeep.copying import CopyCount, copy_part
from deltareg.store import FallbackReads, fresh_key, parse_key
from deltareg.store.memory import MemoryStore
from tests.service import rows
from tests.service.test_operations import Killed, ask, server, work


@pytest.fixture
def ada(engine):
    return rows.caller(engine)


@pytest.fixture
def registry(engine, ada):
    """Have some versions in a store with an empty copy."""
    first, second = MemoryStore(), MemoryStore()
    made = Registry(engine, first, second=second, reads=FallbackReads(first, second))
    rows.push(engine, first, ada, rows.line(engine, maker=ada), *(bytes([each]) * 1000 for each in range(40)))
    return made


def contents(store):
    return {key: b"".join(store.read(key)) for key, _ in store.keys("blobs/")}


def test_the_copy_gets_what_it_lacks_and_what_it_lost_again(registry, ada):
    worker = server(registry)
    ask(registry, ada, "copy", now=True)
    work(worker)
    told = show_operation(registry, ada, "copy").outcome
    lost = sorted(contents(registry.second))[3]
    registry.second.delete(lost)
    registry.second.write(lost, [b"half of it"])
    ask(registry, ada, "copy", now=True)
    work(worker)

    assert told == {"copied": 40, "bytes": 40_000}
    assert show_operation(registry, ada, "copy").outcome == {"copied": 1, "bytes": 1000}
    assert contents(registry.second) == contents(registry.store)


def test_the_copy_keeps_what_the_store_loses_and_gets_nothing_damaged(registry, ada):
    worker = server(registry)
    keys = sorted(contents(registry.store))
    bad = keys[0]
    registry.store.delete(bad)
    registry.store.write(bad, [b"x" * 1000])
    ask(registry, ada, "copy", now=True)
    work(worker)
    for key in keys:
        registry.store.delete(key)
    ask(registry, ada, "copy", now=True)
    work(worker)

    assert sorted(contents(registry.second)) == keys[1:]
    assert b"".join(registry.reads.read(keys[5])) == contents(registry.second)[keys[5]]


def test_without_a_second_store_there_is_nothing_to_do(engine, ada):
    alone = Registry(engine, MemoryStore())
    worker = server(alone)
    ask(alone, ada, "copy", now=True)
    work(worker)

    told = show_operation(alone, ada, "copy")
    assert (told.outcome, told.failure) == ({}, "")


class Kills(MemoryStore):
    """Ends the server in the middle of an object, or does not answer."""

    def __init__(self, error, *, at):
        super().__init__()
        self._left, self._error = at, error

    def write(self, key, body):
        self._left -= 1
        if self._left == 0:
            raise self._error
        return super().write(key, body)


@pytest.mark.parametrize("error", [Killed(), StoreUnavailable("away")])
def test_a_round_that_was_broken_off_is_ended_by_the_next(registry, ada, error):
    broken = Registry(registry.engine, registry.store, second=Kills(error, at=7))
    ask_first = server(broken, lease_s=0, retry_s=0)
    ask(broken, ada, "copy", now=True)
    with suppress(Killed):
        ask_first.work_on_one()
    other = server(broken, "two", lease_s=0)
    ask(broken, ada, "copy", now=True)
    work(other)

    assert contents(broken.second) == contents(broken.store)


def test_a_step_ends_after_some_bytes_and_goes_on(registry):
    zero = min(contents(registry.store))
    part = int(zero[6:8], 16)
    same = [fresh_key(sha256_of(text), attempt=_attempt(zero)) for text in _texts_of(part)]
    for key, text in zip(same, _texts_of(part), strict=True):
        registry.store.write(key, [text])
    counts: list[CopyCount] = []
    while not counts or not counts[-1].is_over:
        counts.append(copy_part(registry.store, registry.second, part, most_bytes=1))

    assert [count.copied for count in counts][:4] == [1] * 4
    assert set(same) <= set(contents(registry.second))


def _attempt(key):
    return parse_key(key).attempt


def _texts_of(part):
    """Give texts whose digests begin with two digits."""
    texts = (str(number).encode() for number in range(4_000))
    return [text for text in texts if sha256_of(text).hex.startswith(f"{part:02x}")][:3]
