"""Reading packs, only through a version or base that the caller may read: a hash is no capability."""

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.session import read
from deltareg.db.sql.row_protocols import present
from deltareg.db.storage import blobs as queries
from deltareg.db.storage import proofs
from deltareg.db.storage.shares import PackHolder
from deltareg.digest import Digest
from deltareg.errors import NotFound
from deltareg.refs import Ref
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, SOMEWHERE, Base
from deltareg.service.corrupt import refuse_corrupt
from deltareg.service.deleted import refuse_deleted
from deltareg.service.describe import ref_of
from deltareg.service.lines.pulls import note_pull
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_base, find_version

URL_EXPIRES_S = 300
_BASE_PREFIX, _RUN_PREFIX = "base:", "run:"


@dataclass(frozen=True, slots=True)
class PackLocation:
    """A stored pack that may be read.

    Attributes:
        key: Its key in the store.
        size_bytes: Its length.
        url: A presigned URL; None when the API serves the bytes itself.
    """

    key: str
    size_bytes: int
    url: str | None


def find_blob(registry: Registry, caller: Caller, digest: Digest, *, of: str) -> PackLocation:
    """Find a pack through something that needs it: `ns/name:v3`, or `base:NAME`.

    A worker that holds a proof run finds its packs through `run:ID`, even if they are corrupt.

    Raises:
        NotFound: There is no such version or base, or it does not need this pack.
        Blocked: The version is deleted.
        Corrupt: The version or base is corrupt.
    """
    caller.require(Right.READ, on=SOMEWHERE)
    with read(registry.engine) as conn:
        if of.startswith(_RUN_PREFIX):
            pack = _of_run(conn, caller, of.removeprefix(_RUN_PREFIX), digest)
        elif of.startswith(_BASE_PREFIX):
            name = caller.current_base(of.removeprefix(_BASE_PREFIX))
            caller.require(Right.READ, on=Base(name))
            base = find_base(conn, caller, name)
            refuse_corrupt(conn, caller, PackHolder(base.id, is_base=True), name)
            pack = queries.pack_of_base(conn, base.id, str(digest))
        else:
            ref = caller.current_ref(Ref.parse(of))
            caller.require(Right.READ, on=ref.line)
            version = find_version(conn, caller, ref, bare="newest")
            refuse_deleted(version)
            refuse_corrupt(conn, caller, PackHolder(version.id), ref_of(version))
            pack = queries.pack_of_version(conn, version.id, str(digest))
            if pack is not None:
                note_pull(registry, caller, version.id)
    if pack is None:
        raise NotFound(f"{of[:120]} has no pack {digest.short}")
    key, size = pack
    return PackLocation(key, size, registry.readable.url(key, expires_s=URL_EXPIRES_S))


def _of_run(conn: sa.Connection, caller: Caller, run_id: str, digest: Digest) -> tuple[str, int] | None:
    caller.require(Right.VERIFY, on=EVERYTHING)
    run = proofs.held_proof(conn, run_id, principal_id=caller.principal_id)
    if run is None:
        return None
    if "form" in run.request:
        return queries.pack_of_form(conn, int(run.request["form"]), str(digest))
    if run.base_id is not None:
        return queries.pack_of_base(conn, run.base_id, str(digest))
    return queries.pack_of_version(conn, present(run.version_id), str(digest))


def read_blob(registry: Registry, blob: PackLocation, start: int, stop: int) -> Iterator[bytes]:
    """Stream a range of a pack."""
    return registry.readable.read(blob.key, start, stop)
