"""Whom a report accuses: nobody, unless what its worker decoded is what is stored.

Bytes may be damaged on a disk, on the way or in a worker's memory, and mended before the worker
says what it found. So a report that finds something wrong says what it read, and the server reads
the same bytes once more before it calls them a lie.
"""

from collections.abc import Iterator

from deltareg.db.session import read
from deltareg.db.storage import packs as pack_queries
from deltareg.digest import sha256_over
from deltareg.errors import BlobMissing, Conflict, IntegrityFailure, InvalidInput
from deltareg.identity.needed_chunks import chunks_in_order
from deltareg.service.push.proven import DecodedStorage
from deltareg.service.registry import Registry


def check_read(registry: Registry, stored: DecodedStorage, said: str) -> None:
    """Hold what a worker says that it read against what is stored.

    Args:
        registry: The database and the store.
        stored: What the report is about, as it is stored.
        said: The digest of the chunks that the worker decoded, one after another.

    Raises:
        InvalidInput: It says nothing of it.
        Conflict: It read other bytes: its run is carried out once more.
    """
    name = stored.subject.name
    if not said:
        raise InvalidInput(
            f"the report finds {name} wrong, and does not say which bytes it is about",
            fix="run a worker of the server's release: deltareg version",
        )
    try:
        found = str(sha256_over(_stored_chunks(registry, stored)))
    except (BlobMissing, IntegrityFailure, KeyError) as error:
        raise _other_bytes(name) from error
    if found != said:
        raise _other_bytes(name)


def _stored_chunks(registry: Registry, stored: DecodedStorage) -> Iterator[bytes]:
    """Give the chunks that a worker decodes, as they lie in the store now."""
    named = (str(pack.digest) for pack in stored.storage.packs)
    with read(registry.engine) as conn:
        keys = pack_queries.physical_keys(conn, stored.subject.scope, named)
    for chunk in chunks_in_order(stored.manifest, stored.storage):
        key, _ = keys[str(chunk.pack)]
        yield from registry.store.read(key, chunk.offset, chunk.offset + chunk.length)


def _other_bytes(name: str) -> Conflict:
    return Conflict(
        f"what was decoded of {name} is not what is stored of it now: nobody is accused for it",
        fix="decode it once more",
    )
