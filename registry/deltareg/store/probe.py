"""The check of a live store: does it keep the contract with the settings at hand?"""

import hashlib
from collections.abc import Callable
from uuid import uuid4

from deltareg.digest import sha256_of
from deltareg.errors import BlobMissing, StoreMisconfigured
from deltareg.store.blob_store import BlobStore, fresh_key

_DATA = hashlib.shake_256(b"deltareg store check").digest(4096)
_URL_LIFETIME_S = 60

Fetch = Callable[[str, int, int], bytes]
"""GETs the bytes from one place to another (exclusive) with nothing but a signed URL."""


def probe(store: BlobStore, *, where: str, fetch: Fetch | None = None) -> None:
    """Write, read back, read a range of, list and delete one object of the ordinary layout.

    A probe object that a crash leaves behind is an object without a row, like any other.

    Args:
        store: The store to check.
        where: Its URL, for the message.
        fetch: How a client would GET what the store signs; None where it signs nothing.

    Raises:
        StoreMisconfigured: Something came back other than it should.
    """
    key = fresh_key(sha256_of(_DATA), attempt=uuid4())
    try:
        store.write(key, [_DATA[:1000], _DATA[1000:]])
        wrong = _first_difference(store, key) or _difference_by_url(store, key, fetch)
    finally:
        store.delete(key)
    if wrong is None and not _is_gone(store, key):
        wrong = "an object can still be read after its deletion"
    if wrong is not None:
        raise StoreMisconfigured(
            f"the store at {where} does not keep its contract: {wrong}",
            fix="correct the region, take away a cache or proxy in front of it, or take a store that was tried",
        )


def _first_difference(store: BlobStore, key: str) -> str | None:
    """Say what is wrong with the probe object, None when nothing is."""
    if store.size(key) != len(_DATA):
        return "an object just written has another size or is not found"
    if b"".join(store.read(key)) != _DATA:
        return "an object reads back changed"
    if b"".join(store.read(key, 100, 200)) != _DATA[100:200]:
        return "a range reads back changed"
    if list(store.keys(key)) != [(key, len(_DATA))]:
        return "an object just written is not listed"
    return None


def _difference_by_url(store: BlobStore, key: str, fetch: Fetch | None) -> str | None:
    """Say what is wrong with the signed URL of the probe object, None when nothing is."""
    url = store.url(key, expires_s=_URL_LIFETIME_S)
    if fetch is None or url is None or fetch(url, 100, 200) == _DATA[100:200]:
        return None
    return "a signed URL does not give its object, which a wrong region is enough for"


def _is_gone(store: BlobStore, key: str) -> bool:
    """Whether a deleted key is missing, by its size and by a read."""
    if store.size(key) is not None:
        return False
    try:
        store.read(key)
    except BlobMissing:
        return True
    return False
