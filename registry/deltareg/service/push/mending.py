"""Mending a pack: from its own object, or from a copy of its bytes elsewhere.

A copy has the same digest under another key: left by an upload, stored for another namespace, or
kept in a second store. It is hashed before it is used.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

import sqlalchemy as sa

from deltareg.db.session import with_retry
from deltareg.db.storage import packs as pack_queries
from deltareg.db.storage import uploads as upload_queries
from deltareg.db.storage.rows import PackRow
from deltareg.db.upkeep import damage as queries
from deltareg.digest import Digest, sha256_over
from deltareg.errors import BlobMissing, IntegrityFailure
from deltareg.service.push.damage import heal_needing
from deltareg.service.registry import Caller, Registry
from deltareg.store import BlobStore, fresh_key


@dataclass(frozen=True, slots=True)
class _Copy:
    """An object that holds the bytes of a digest."""

    store: BlobStore
    key: str


def mend(registry: Registry, by: Caller, row: PackRow) -> bool:
    """Give a pack a sound object if there is one anywhere; return whether there was."""
    if _holds(registry.store, row.physical_key, row.digest):
        size = registry.store.size(row.physical_key)
        accept = partial(_accept, caller=by, row=row, size_bytes=size or row.size_bytes)
        return with_retry(registry.engine, accept)
    return _bring(registry, by, row.scope, row.digest, instead_of=row)


def bring_back(registry: Registry, by: Caller, scope: str, digest: str) -> bool:
    """Recreate a pack whose row is gone from an object that still exists; return whether it did."""
    return _bring(registry, by, scope, digest, instead_of=None)


def _accept(conn: sa.Connection, caller: Caller, row: PackRow, size_bytes: int) -> bool:
    key = row.physical_key
    if not queries.mark_whole(conn, row.id, physical_key=key, size_bytes=size_bytes):
        return False
    heal_needing(conn, caller, [row.id])
    return True


def _bring(registry: Registry, caller: Caller, scope: str, digest: str, *, instead_of: PackRow | None) -> bool:
    """Copy an object to a fresh key, which is in the database before its first byte is written."""
    copy = next(_copies(registry, digest), None)
    if copy is None:
        return False
    key, upload_id = fresh_key(Digest.parse(digest), attempt=uuid4()), str(uuid4())

    def register(conn: sa.Connection) -> int:
        upload_queries.add_upload(
            conn,
            upload_id=upload_id,
            principal_id=caller.principal_id,
            scope=scope,
            subject="delta",
            target="registry/mending",
            manifest_digest=digest,
            manifest=b"",
            # Of a run that nobody holds: no request adds to it or completes it.
            request={"run": "mending", "fence": 0},
        )
        return upload_queries.add_upload_pack(conn, upload_id, number=0, physical_key=key)

    pack_id = with_retry(registry.engine, register)
    size = registry.store.write(key, copy.store.read(copy.key))
    if not _holds(registry.store, key, digest):
        return False

    def adopt(conn: sa.Connection) -> bool:
        upload_queries.receive_upload_pack(conn, pack_id, digest=digest, size_bytes=size)
        upload = upload_queries.lock_open(conn, upload_id)
        if upload is None:  # a collection has taken it
            return False
        upload_queries.close_upload(conn, upload_id, state="complete")
        if instead_of is None:
            pack_queries.adopt(conn, upload, digest)
            return True
        is_mended = pack_queries.replace_key(conn, instead_of.id, upload, digest, instead_of=instead_of.physical_key)
        heal_needing(conn, caller, [instead_of.id] if is_mended else [])
        return is_mended

    return with_retry(registry.engine, adopt)


def _copies(registry: Registry, digest: str) -> Iterator[_Copy]:
    stores = [registry.store, *([] if registry.second is None else [registry.second])]
    for store in stores:
        for key, _ in store.keys(f"blobs/{Digest.parse(digest).hex}/"):
            if _holds(store, key, digest):
                yield _Copy(store, key)


def _holds(store: BlobStore, key: str, digest: str) -> bool:
    try:
        return str(sha256_over(store.read(key))) == digest
    except (BlobMissing, IntegrityFailure):
        return False
