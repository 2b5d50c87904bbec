"""The one seam to stored bytes: what every blob store promises, and the layout of the bucket.

Layout, the same under a folder, a bucket prefix and in memory::

    blobs/
      <sha256 of the object, 64 hex>/
        <uuid4 of the upload attempt>      the object: a pack or a file, written once, never changed
    log/
      <the log>/<size>-<root>              evidence: a checkpoint of the audit trail, never deleted
      backups/<time>-<digest>              in the place of backups: what each of them is; goes when it is pruned

A physical key is made by the server, fresh for each upload attempt, and never used again. The
database says which key stands for a digest; a key without a row is garbage that may be deleted at
any time. That rule alone keeps collection safe: no clock, no grace period and no conditional write
is needed, so the store has to offer no more than the calls below (docs/design.md, Stored
form).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from deltareg.digest import Digest
from deltareg.errors import IntegrityFailure, InvalidInput

CHUNK_BYTES = 1 << 20
"""The most bytes that one step of `BlobStore.read` gives."""

_KEY = re.compile(r"blobs/([0-9a-f]{64})/([0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})")
_PREFIX = re.compile(r"(?:[a-z0-9-]+/)*[a-z0-9-]*")
_EVIDENCE = re.compile(r"log/[0-9a-z-]{1,64}/[0-9]{18}-[0-9a-f]{16}")
_LOG = re.compile(r"[0-9a-z-]{1,64}")
_OF_BACKUPS = "log/backups/"


class BlobStore(Protocol):
    """Immutable objects under keys of the layout above; safe to share between threads.

    Every call refuses a key that is not of the layout with `InvalidInput`. A store that cannot
    answer now raises `StoreUnavailable`, which is worth a retry under a new key; one that refuses
    what the settings say raises `StoreMisconfigured`, which is not.
    """

    def write(self, key: str, body: Iterable[bytes]) -> int:
        """Store the bytes of `body` under `key` and return how many there were.

        The object is durable when this returns, and readers see all of it or nothing. Memory stays
        bounded whatever the length of the body. When the body raises, its exception passes
        through, nothing becomes visible and no part is left behind.

        Raises:
            Conflict: The key is taken; nothing was changed. This guards against a key used twice
                by mistake. It is no lock: fresh keys make races on one key impossible.
            DiskFull: There is no room, or a quota is used up.
        """
        ...

    def read(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Give bytes `start` to `stop` (exclusive, None for the end) in chunks of at most 1 MiB.

        The object is opened by the call itself, so what is missing is known before the first byte.
        The iterator gives exactly the range or raises; it is never silently short.

        Raises:
            BlobMissing: There is no such object (by the call).
            IntegrityFailure: The object does not reach that far (by the call), or it ended early
                (by the iterator).
            StoreUnavailable: The connection was cut (by either).
        """
        ...

    def size(self, key: str) -> int | None:
        """Return the object's length in bytes, None when there is no such object."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object, or what was kept of a backup; it is no error if there is none."""
        ...

    def keys(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Give key and size of every object whose key starts with `prefix`, in no promised order.

        Objects that are not of the layout are left out. Memory stays bounded. Objects that come or
        go meanwhile may be listed or not; all others are listed once.
        """
        ...

    def url(self, key: str, *, expires_s: int) -> str | None:
        """Sign a URL that lets its holder GET the object, ranges too, for `expires_s` seconds.

        None means that the registry's API has to serve the bytes itself. Whether the object exists
        is not looked up.
        """
        ...

    def keep(self, name: str, data: bytes) -> bool:
        """Keep evidence under a name of the layout; the same again changes nothing.

        It is not among `keys`, and no call deletes it, unless it is of a backup. Says whether the
        store itself lets nobody delete it for now, by a lock on objects.
        """
        ...

    def read_log(self, log: str) -> Iterator[bytes]:
        """Give what was kept of a log, in the order of its names; of backups, what goes meanwhile may be left out."""
        ...

    def check(self) -> None:
        """Write, read, list and delete a probe object, so that a bad setting shows at start.

        Raises:
            StoreMisconfigured: The store answers and does not keep the contract; says what to do.
            StoreUnavailable: The store does not answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class BlobKey:
    """A physical key, taken apart.

    Attributes:
        digest: The sha256 that the object is expected to have.
        attempt: The upload attempt that the key was made for.
    """

    digest: Digest
    attempt: UUID

    def __str__(self) -> str:
        """Write it as in the store."""
        return f"blobs/{self.digest.hex}/{self.attempt}"


def fresh_key(digest: Digest, *, attempt: UUID) -> str:
    """Make the physical key for one upload attempt.

    Args:
        digest: The sha256 that the client announced.
        attempt: A new `uuid4()`; a second attempt takes a second one.
    """
    key = str(BlobKey(digest, attempt))
    if digest.algorithm != "sha256" or not is_key(key):
        raise InvalidInput(f"no key can be made of {digest} and {attempt}: take sha256 and uuid4")
    return key


def parse_key(key: str) -> BlobKey:
    """Take a physical key apart.

    Raises:
        InvalidInput: It is not exactly of the layout.
    """
    match = _KEY.fullmatch(key)
    if match is None:
        raise InvalidInput(f"not a key of this store: {key[:120]!r}", fix="keys are made by the registry only")
    return BlobKey(Digest("sha256", match[1]), UUID(match[2]))


def is_key(key: str) -> bool:
    """Whether a name found in a store is of the layout."""
    return _KEY.fullmatch(key) is not None


def parse_evidence(name: str) -> str:
    """Check the name of a piece of evidence.

    Raises:
        InvalidInput: It is not exactly of the layout.
    """
    if _EVIDENCE.fullmatch(name) is None:
        raise InvalidInput(f"not a name of evidence: {name[:120]!r}")
    return name


def parse_deletable(name: str) -> str:
    """Check the name of what may be deleted: an object, or evidence of a backup; all other evidence stays.

    Raises:
        InvalidInput: It is neither.
    """
    return parse_evidence(name) if is_of_backup(name) else str(parse_key(name))


def is_of_backup(name: str) -> bool:
    """Say whether a name is of what tells of a backup, which may go while it is read; no other evidence may."""
    return name.startswith(_OF_BACKUPS)


def folder_of_log(log: str) -> str:
    """Give what the names of a log's evidence begin with.

    Raises:
        InvalidInput: It is not how a log is called.
    """
    if _LOG.fullmatch(log) is None:
        raise InvalidInput(f"not how a log is called: {log[:120]!r}")
    return f"log/{log}/"


def check_prefix(prefix: str) -> None:
    """Refuse a listing prefix that no key can start with.

    Raises:
        InvalidInput: It has characters or a form that keys never have.
    """
    if _PREFIX.fullmatch(prefix) is None:
        raise InvalidInput(f"not the start of a key: {prefix[:120]!r}")


def range_end(key: str, size: int, start: int, stop: int | None) -> int:
    """Return where a range ends in an object of `size` bytes.

    Raises:
        InvalidInput: The range runs backwards or starts below 0.
        IntegrityFailure: The object does not reach that far.
    """
    check_range(start, stop)
    end = size if stop is None else stop
    if start > size or end > size:
        raise IntegrityFailure(
            f"bytes {start} to {end} were asked of {key}, which has {size}",
            fix="run `deltareg fsck --repair`; the object or the row that describes it is damaged",
        )
    return end


def check_range(start: int, stop: int | None) -> None:
    """Refuse a range that no object can have.

    Raises:
        InvalidInput: It runs backwards or starts below 0.
    """
    if start < 0 or (stop is not None and stop < start):
        raise InvalidInput(f"not a range of bytes: {start} to {stop}")


def key_taken(key: str) -> str:
    """Word the refusal of a second write."""
    return f"the store already holds {key}; every upload attempt takes a fresh key"
