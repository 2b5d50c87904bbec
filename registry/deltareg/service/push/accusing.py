"""Checking a report of wrong bytes before the sender of the bytes is blamed.

Bytes may be damaged on a disk, in transit or in a worker's memory, and be fine again before the
worker reports. So a report of wrong bytes includes a digest of what the worker read, and the server
reads the same bytes again before it marks them as corrupt.
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
    """Compare what a worker says that it read with what is stored.

    Args:
        registry: The database and the store.
        stored: The stored form that the report is about.
        said: The reported digest over the chunks that the worker decoded, one after another.

    Raises:
        InvalidInput: The report has no such digest.
        Conflict: The worker read other bytes; its run is repeated.
    """
    name = stored.subject.name
    if not said:
        raise InvalidInput(
            f"the report finds {name} wrong, and does not say which bytes it is about",
            fix="run a worker of the server's release: deltareg version",
        )
    try:
        digest = str(sha256_over(_stored_chunks(registry, stored)))
    except (BlobMissing, IntegrityFailure, KeyError) as error:
        raise _other_bytes(name) from error
    if digest != said:
        raise _other_bytes(name)


def _stored_chunks(registry: Registry, stored: DecodedStorage) -> Iterator[bytes]:
    """Yield the chunks that a worker decodes, as they lie in the store now."""
    digests = (str(pack.digest) for pack in stored.storage.packs)
    with read(registry.engine) as conn:
        keys = pack_queries.physical_keys(conn, stored.subject.scope, digests)
    for chunk in chunks_in_order(stored.manifest, stored.storage):
        key, _ = keys[str(chunk.pack)]
        yield from registry.store.read(key, chunk.offset, chunk.offset + chunk.length)


def _other_bytes(name: str) -> Conflict:
    return Conflict(
        f"what was decoded of {name} is not what is stored of it now: nobody is accused for it",
        fix="decode it once more",
    )
