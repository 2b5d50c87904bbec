"""What stores in buckets have in common: their URLs, parts to send, and URLs that they sign."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from deltareg.errors import InvalidInput, StoreUnavailable
from deltareg.host.lean_httpx import httpx
from deltareg.host.urls import split_url
from deltareg.store.schemes import not_a_url

_PREFIX: Final = re.compile(r"(?:[A-Za-z0-9!_'()*-][A-Za-z0-9!_.'()*-]*/)*")
_LONGEST_URL_S: Final = 7 * 24 * 3600


def read_bucket_url(url: str) -> tuple[str, str]:
    """Read the bucket out of `s3://bucket/prefix` and the like, and the prefix, which ends in `/`.

    Raises:
        StoreMisconfigured: It names no bucket, or keys would not be what they look like.
    """
    parts = split_url(url)
    prefix = parts.path.strip("/") + "/" if parts.path.strip("/") else ""
    if not parts.netloc or parts.query or parts.fragment or _PREFIX.fullmatch(prefix) is None:
        raise not_a_url(url, "a bucket")
    return parts.netloc, prefix


def cut_parts(body: Iterable[bytes], size_bytes: int) -> Iterator[bytearray]:
    """Cut a stream into parts of a size, the last one shorter.

    It is the same buffer each time, so that one part is all that is ever held: send it before
    asking for the next.
    """
    part = bytearray()
    for chunk in body:
        rest = memoryview(chunk)
        while rest:
            room = size_bytes - len(part)
            part += rest[:room]
            rest = rest[room:]
            if len(part) == size_bytes:
                yield part
                part.clear()
    if part:
        yield part


def check_lifetime(expires_s: int) -> None:
    """Refuse a lifetime that no signed URL has.

    Raises:
        InvalidInput: It is none, or longer than a week.
    """
    if not 0 < expires_s <= _LONGEST_URL_S:
        raise InvalidInput(f"a signed URL lives 1 to {_LONGEST_URL_S} seconds, not {expires_s}")


def fetch_signed(url: str, start: int, stop: int) -> bytes:
    """GET a range as a client of the registry does: a store's library would repair a wrong region.

    Raises:
        StoreUnavailable: The URL cannot be reached from here.
    """
    try:
        return httpx.get(url, headers={"Range": f"bytes={start}-{stop - 1}"}).content
    except httpx.TransportError as error:
        raise StoreUnavailable(f"a signed URL cannot be fetched: {error}") from error
