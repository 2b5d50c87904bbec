"""The objects of the store against the packs of the database, a share of the keys at a time.

Keys begin with digests, so those that begin with some digits are an even share of all. A share is
listed in the store and in the database at once, which takes a few requests and statements and not
one for each pack. What differs is looked at again by itself, as pushes and collections continue.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.session import read
from deltareg.db.upkeep import fsck as queries
from deltareg.db.upkeep.rows import StoredPackRow
from deltareg.errors import InvalidInput
from deltareg.store import BlobStore

_ROOT = "blobs/"
_DIGITS = "0123456789abcdef"
_BEHIND = "g"  # the first letter that is no digit
_SHARE = 64_000  # packs at most, about: a store in a folder reads all names for each share
_DEEPEST = 4


@dataclass(frozen=True, slots=True)
class ShareOfObjects:
    """Packs with keys that begin alike, and their objects.

    Attributes:
        digits: What their digests begin with.
        live: The packs that are not marked for deletion, in the order of their keys.
        sizes: The bytes of the objects, by key.
        orphans: Objects that no row knows, with their bytes.
    """

    digits: str
    live: Sequence[StoredPackRow]
    sizes: dict[str, int]
    orphans: Sequence[tuple[str, int]]

    @property
    def next_digits(self) -> str | None:
        """What those of the next share begin with; None after the last one."""
        if not self.digits.strip(_DIGITS[-1]):
            return None
        return f"{int(self.digits, 16) + 1:0{len(self.digits)}x}"


def first_digits(engine: sa.Engine) -> str:
    """Return what the digests of the first share begin with: the more packs there are, the more digits."""
    with read(engine) as conn:
        packs = queries.newest_pack(conn)
    depth = next((each for each in range(_DEEPEST) if packs <= _SHARE * 16**each), _DEEPEST)
    return "0" * depth


def check_digits(digits: str) -> str:
    """Refuse what no digest begins with.

    Raises:
        InvalidInput: It is none.
    """
    if len(digits) > _DEEPEST or set(digits) - set(_DIGITS):
        raise InvalidInput("not a cursor of this server", fix="start again without it")
    return digits


def share_of_objects(engine: sa.Engine, store: BlobStore, digits: str) -> ShareOfObjects:
    """List a share: the objects first, so that what is pushed meanwhile is no orphan."""
    sizes = dict(store.keys(_ROOT + digits))
    end = _ROOT + (_after(digits) if digits else _BEHIND)
    with read(engine) as conn:
        rows = [row for row in queries.packs_within(conn, _ROOT + digits, end) if row.physical_key.startswith(_ROOT)]
        others = sizes.keys() - {row.physical_key for row in rows}
        strays = sorted(others - queries.known_keys(conn, sorted(others)))
    # A key is registered before its first byte, so an object without a row has lost it, or both
    # went while this was looking.
    orphans = [(key, sizes[key]) for key in strays if store.size(key) is not None]
    live = sorted((row for row in rows if row.state == "live"), key=lambda row: row.physical_key)
    return ShareOfObjects(digits, live, sizes, orphans)


def differing(engine: sa.Engine, store: BlobStore, share: ShareOfObjects) -> Iterator[tuple[StoredPackRow, int | None]]:
    """Yield the packs without an object of their size, with the bytes that there are; None for no object."""
    doubtful = [row for row in share.live if share.sizes.get(row.physical_key) != row.size_bytes]
    wrong = [
        (row, size) for row in doubtful if (size := store.size(row.physical_key)) is None or size != row.size_bytes
    ]
    live = still_live(engine, [row for row, _ in wrong])
    yield from ((row, size) for row, size in wrong if row.id in live)


def still_live(engine: sa.Engine, rows: Sequence[StoredPackRow]) -> set[int]:
    """Return which of some packs are still live under their keys; the others were collected or replaced."""
    if not rows:
        return set()
    with read(engine) as conn:
        return queries.live_among(conn, rows)


def _after(digits: str) -> str:
    """Return what is behind all that begins with some digits, in whichever order a database has."""
    last = _DIGITS.index(digits[-1])
    return digits[:-1] + (_DIGITS + _BEHIND)[last + 1]
