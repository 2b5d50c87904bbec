"""What a store is proven to do, property by property, with objects of its own that are deleted again.

Each is something that the registry rests on. It rests on nothing else: not on conditional writes, and not
on the store's own checksums, since every object is hashed here.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable
from uuid import uuid4

from deltareg.digest import sha256_of
from deltareg.errors import BlobMissing, Conflict, DeltaregError, InvalidInput
from deltareg.store.blob_store import BlobStore, fresh_key
from deltareg.store.probe import Fetch

_SMALL: Final = hashlib.shake_256(b"deltareg store proofs").digest(4096)
_PIECE: Final = hashlib.shake_256(b"deltareg long object").digest(1 << 20)
_PIECES: Final = 17
_PART_BYTES: Final = 8 << 20  # stores that send in parts cut here: the range below spans that
_MOST_SKEW_S: Final = 60.0
_URL_LIFETIME_S: Final = 60
_CACHE = "take away the cache or the proxy in front of the store"
_OTHER = "take a store that was tried; tests run against OpenStack Swift"


@runtime_checkable
class HasClock(Protocol):
    """A store that says what time it has."""

    def clock(self) -> float:
        """Return the store's time, in seconds since the epoch."""
        ...


@dataclass(frozen=True, slots=True)
class StoreProof:
    """Whether a store has a property.

    Attributes:
        name: The property.
        wrong: What is wrong; empty if it has the property.
        fix: What to do about it.
    """

    name: str
    wrong: str = ""
    fix: str = ""


def prove_store(
    store: BlobStore, *, fetch: Fetch | None = None, now: Callable[[], float] = time.time
) -> Iterator[StoreProof]:
    """Prove properties of a store one after another; what cannot be asked of this store is left out.

    Args:
        store: The store.
        fetch: How a client would GET what the store signs; None where nobody can.
        now: Returns this machine's time, in seconds since the epoch.
    """
    small, cut, long = (fresh_key(sha256_of(_SMALL), attempt=uuid4()) for _ in range(3))
    try:
        yield _prove("read after write", lambda: _read_after_write(store, small), _CACHE)
        yield _prove("ranges", lambda: _ranges(store, small), _OTHER)
        yield _prove("list after write", lambda: _list(store, small), _CACHE)
        yield _prove("written once", lambda: _written_once(store, small), _OTHER)
        yield _prove("nothing by halves", lambda: _by_halves(store, cut), _OTHER)
        yield _prove("long objects", lambda: _long(store, long), "let the store take multipart uploads")
        if fetch is not None and store.url(small, expires_s=_URL_LIFETIME_S) is not None:
            yield _prove(
                "signed addresses", lambda: _fetch_signed(store, small, fetch), "correct the region and the endpoint"
            )
        if isinstance(store, HasClock):
            yield _prove("clock", lambda: _clock(store.clock(), now()), "keep both clocks right: chrony or ntpd")
    finally:
        for key in (cut, long):
            with suppress(DeltaregError):
                store.delete(key)
        gone = _prove("gone after deletion", lambda: _delete(store, small), _CACHE)
    yield gone


def describe_skew(other: float, here: float, *, whose: str) -> str:
    """Say by how much a clock differs from this machine's, in seconds since the epoch; empty if it hardly does."""
    skew = other - here
    if abs(skew) <= _MOST_SKEW_S:
        return ""
    return f"{whose} clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's"


def _prove(name: str, ask: Callable[[], str], fix: str) -> StoreProof:
    try:
        wrong = ask()
    except DeltaregError as error:
        return StoreProof(name, error.message, error.fix or fix)
    return StoreProof(name, wrong, fix if wrong else "")


def _read_after_write(store: BlobStore, key: str) -> str:
    store.write(key, [_SMALL[:1000], _SMALL[1000:]])
    if store.size(key) != len(_SMALL):
        return "an object just written has another size or is not found"
    return "" if b"".join(store.read(key)) == _SMALL else "an object reads back changed"


def _ranges(store: BlobStore, key: str) -> str:
    spans = ((0, 1), (100, 200), (len(_SMALL) - 1, len(_SMALL)))
    is_right = all(b"".join(store.read(key, start, stop)) == _SMALL[start:stop] for start, stop in spans)
    return "" if is_right else "a range reads back changed"


def _list(store: BlobStore, key: str) -> str:
    return "" if list(store.keys(key)) == [(key, len(_SMALL))] else "an object just written is not listed"


def _written_once(store: BlobStore, key: str) -> str:
    with suppress(Conflict):
        store.write(key, [b"other"])
        return "a second write to a key is taken"
    return "" if b"".join(store.read(key)) == _SMALL else "a second write that was refused changed the object"


def _by_halves(store: BlobStore, key: str) -> str:
    def body() -> Iterator[bytes]:
        yield _PIECE
        raise InvalidInput("a proof breaks a write off here")  # which passes through the store

    with suppress(InvalidInput):
        store.write(key, body())
    return "" if store.size(key) is None else "a write that broke off leaves an object"


def _long(store: BlobStore, key: str) -> str:
    store.write(key, (_PIECE for _ in range(_PIECES)))
    wanted, found = hashlib.sha256(_PIECE * _PIECES), hashlib.sha256()
    for chunk in store.read(key):
        found.update(chunk)
    if found.digest() != wanted.digest():
        return f"an object of {_PIECES} MiB reads back changed"
    start, stop = _PART_BYTES - 100, _PART_BYTES + 100
    is_right = b"".join(store.read(key, start, stop)) == (_PIECE[-100:] + _PIECE[:100])
    return "" if is_right else "a range over the border of two parts reads back changed"


def _fetch_signed(store: BlobStore, key: str, fetch: Fetch) -> str:
    url = store.url(key, expires_s=_URL_LIFETIME_S) or ""
    return "" if fetch(url, 100, 200) == _SMALL[100:200] else "a signed address does not give its object"


def _clock(store: float, here: float) -> str:
    return describe_skew(store, here, whose="the store's")


def _delete(store: BlobStore, key: str) -> str:
    store.delete(key)
    if store.size(key) is not None:
        return "an object is found after its deletion"
    with suppress(BlobMissing):
        store.read(key)
        return "an object can be read after its deletion"
    return ""
