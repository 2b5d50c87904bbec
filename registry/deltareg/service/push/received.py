"""The packs of an upload, brought or relied on: reading their headers, and making them live."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import sqlalchemy as sa

from deltareg.db.session import read
from deltareg.db.storage import packs as pack_queries
from deltareg.db.storage import proofs
from deltareg.db.storage import uploads as queries
from deltareg.db.storage.rows import UploadRow
from deltareg.db.storage.shares import PackHolder
from deltareg.db.upkeep import damage
from deltareg.digest import Digest
from deltareg.errors import BlobMissing, IntegrityFailure, Problem, Refused, UploadClosed
from deltareg.identity.storage_map import StorageMap
from deltareg.service.push.damage import find_damage_relied_on, heal_needing
from deltareg.service.readback import Readback
from deltareg.service.registry import Caller, Registry

T = TypeVar("T")
_AGAIN = "run the same push again; what is stored already is not sent twice"


def pack_keys(
    conn: sa.Connection, upload: UploadRow, storage: StorageMap, *, of_version: int | None = None
) -> dict[Digest, str]:
    """Find the physical key of every pack of a map: brought by the upload, or relied on.

    It may rely on a pack that belongs to something proven, was sent by the same principal, or
    belongs to the version itself.

    Raises:
        UploadClosed: A pack is neither; the push has to start again.
    """
    locations = {row.digest: (row.physical_key, row.size_bytes) for row in queries.received_packs(conn, upload.id)}
    missing = [str(pack.digest) for pack in storage.packs if str(pack.digest) not in locations]
    locations |= proofs.reliable_keys(conn, upload.scope, missing, sender_id=upload.principal_id, of_version=of_version)
    for pack in storage.packs:
        if str(pack.digest) not in locations:
            is_there = pack_queries.physical_keys(conn, upload.scope, [str(pack.digest)])
            problem = "claimed by somebody else, not proven" if is_there else "not stored (any more)"
            raise UploadClosed(f"pack {pack.digest.short} is {problem}", fix=_AGAIN)
        if locations[str(pack.digest)][1] != pack.size_bytes:
            wrong = f"pack {pack.digest.short} does not have {pack.size_bytes} bytes"
            raise Refused([Problem("header", wrong, fix="push it with a current client")])
    return {Digest.parse(digest): key for digest, (key, _) in locations.items()}


def read_back(
    registry: Registry,
    by: Caller,
    upload: UploadRow,
    keys: Mapping[Digest, str],
    storage: StorageMap,
    *,
    look: Callable[[Readback], T],
) -> T:
    """Read small parts of an upload, such as headers and documents.

    Raises:
        Refused: The parts are not what the manifest claims.
        UploadClosed: Collection has freed the upload, or a pack that it relied on; or such a pack
            is damaged, which is recorded.
    """
    try:
        return look(Readback(registry.store, keys, storage))
    except (BlobMissing, IntegrityFailure, Refused) as error:
        if find_damage_relied_on(registry, by, upload, keys):
            raise UploadClosed("a pack that was relied on is damaged", fix=_AGAIN) from error
        if not isinstance(error, BlobMissing):
            raise
        with read(registry.engine) as conn:
            now = queries.upload_row(conn, upload.id)
            is_open = now is not None and now.state == "open"
            if is_open and pack_keys(conn, upload, storage) == keys:
                raise
        raise UploadClosed("what the upload had was collected meanwhile", fix=_AGAIN) from error


def adopt_packs(
    conn: sa.Connection,
    caller: Caller,
    upload: UploadRow,
    storage: StorageMap,
    *,
    of: PackHolder | None = None,
    is_replacing: bool = False,
) -> dict[str, int]:
    """Make an upload's packs live and lock the others; return every pack's row id by digest.

    The uploaded objects replace damaged ones. So whatever needs those packs, other than `of`, which
    they are uploaded for, is whole again. With `is_replacing` they also replace the objects of
    equal packs.

    Raises:
        UploadClosed: The upload is closed, or a pack that should be there already is gone.
    """
    opened = queries.lock_open(conn, upload.id)
    if opened is None:
        raise UploadClosed("the upload is closed", fix=_AGAIN)
    bad = damage.bad_among(conn, upload.scope, opened.received)
    row_ids: dict[str, int] = {}
    others: list[str] = []
    # Sorted, so that two completions lock rows in the same order and cannot block each other.
    for digest in sorted(str(pack.digest) for pack in storage.packs):
        if digest in opened.received:
            row_ids[digest] = pack_queries.adopt(conn, opened, digest, is_replacing=is_replacing)
        else:
            others.append(digest)
    row_ids |= pack_queries.lock_live(conn, upload.scope, others)
    heal_needing(conn, caller, bad, but=of)
    return row_ids
