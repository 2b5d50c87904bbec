"""An empty store to be tried, and what is put into it."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar
from uuid import uuid4

from deltareg.digest import Digest, sha256_of
from deltareg.store import BlobStore, fresh_key

MIB = 1 << 20
PART_BYTES = 8 * MIB
"""About what stores send at once: sizes around it are tried."""
BLOCK = hashlib.shake_256(b"blob store").digest(MIB)
ZERO = Digest("sha256", "0" * 64)

Span = tuple[int, int | None]
Failure = TypeVar("Failure", bound=Exception)


def _no_leftovers() -> list[str]:
    return []


@dataclass(frozen=True, slots=True)
class OpenedStore:
    """An empty store to be tried.

    Attributes:
        store: The store.
        leftovers: Looks behind it at what a failed write left there.
        many_keys: How many keys fill more than one page of its listing.
        is_streaming: Whether it holds an object in memory never whole.
    """

    store: BlobStore
    leftovers: Callable[[], list[str]] = _no_leftovers
    many_keys: int = 1100
    is_streaming: bool = True


def new_key(digest: Digest = ZERO) -> str:
    """Make a key of its own attempt."""
    return fresh_key(digest, attempt=uuid4())


def store_bytes(store: BlobStore, data: bytes) -> str:
    """Store bytes and give their key."""
    key = new_key(sha256_of(data))
    store.write(key, [data])
    return key


def content(size: int) -> bytes:
    """Give so many bytes, which look like noise."""
    return (BLOCK * (size // MIB + 1))[:size]


def cut(data: bytes, step: int) -> Iterator[bytes]:
    """Give bytes in chunks."""
    return (data[at : at + step] for at in range(0, len(data), step))


def digest_of(chunks: Iterator[bytes]) -> str:
    """Hash chunks, in hex."""
    hasher = hashlib.sha256()
    for chunk in chunks:
        hasher.update(chunk)
    return hasher.hexdigest()


def failing_body(size: int) -> Iterator[bytes]:
    """Give so many bytes, and break off as when a client goes away."""
    yield from cut(content(size), MIB)
    raise ConnectionResetError


def catch(error: type[Failure], call: Callable[[], object]) -> Failure:
    """Call what has to raise, and give what it raised."""
    try:
        call()
    except error as raised:
        return raised
    raise AssertionError(f"{error.__name__} was not raised")
