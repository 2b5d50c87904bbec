"""What a backup needs, for whoever prunes and has no key: how the digests of its objects begin, unencrypted.

It tells no more than the names of objects in the place do, and which backup has them. Eight bytes of each are
enough: where two begin alike, an object is kept too many.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain

from deltareg.digest import Digest
from deltareg.errors import BlobMissing, Conflict, IntegrityFailure
from deltareg.service.backup.archive import Archive
from deltareg.service.backup.manifest import BackupCatalog, BackupManifest
from deltareg.service.backup.segments import ANOTHER
from deltareg.signing.age_keys import AgeKeys
from deltareg.store import fresh_key

BEGIN_BYTES = 8
OPEN = AgeKeys()


def needs_of(catalog: BackupCatalog, entries: Iterable[tuple[str, str]]) -> list[str]:
    """List the digests of the objects of a backup, without its catalog.

    Args:
        catalog: The catalog.
        entries: Of each object of the registry's store, sha256 and physical key.
    """
    rows = chain.from_iterable(table.segments for table in catalog.tables)
    blobs = (digest for digest, key in entries if key not in catalog.lacking)
    return [*rows, *catalog.blobs, *([catalog.keys] if catalog.keys else []), *blobs]


def pack_needs(digests: Iterable[str]) -> bytes:
    """Write down how digests begin."""
    return b"".join(sorted({bytes.fromhex(digest)[:BEGIN_BYTES] for digest in digests}))


def put_needs(archive: Archive, digests: Iterable[str]) -> str:
    """Write down what a backup needs; return the digest of that."""
    raw = pack_needs(digests)
    digest = hashlib.sha256(raw).hexdigest()
    replace(archive, keys=OPEN).put(digest, [raw])
    return digest


def read_needs(archive: Archive, manifest: BackupManifest) -> bytes:
    """Read what a backup needs, as it was written down.

    Raises:
        Conflict: It was taken before that was written down.
        IntegrityFailure: That is missing, or another thing than it was.
    """
    if not manifest.needs:
        raise Conflict(
            f"backup {manifest.name} does not say what it needs: an older release took it",
            fix="prune there when it is old enough to go, or begin another place",
        )
    try:
        raw = b"".join(archive.store.read(fresh_key(Digest("sha256", manifest.needs), attempt=OPEN.mark)))
    except BlobMissing as error:
        raise IntegrityFailure(f"what backup {manifest.name} needs is missing", fix=ANOTHER) from error
    if hashlib.sha256(raw).hexdigest() != manifest.needs:
        raise IntegrityFailure(f"what backup {manifest.name} needs is another thing than it was", fix=ANOTHER)
    return raw
