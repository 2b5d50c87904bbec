"""Runs that re-encode a version: queued by `flatten`, a push without its base, or a promotion.

If no worker has that base either, the run dies; it is queued again when the base is stored. The
manifest, digest and number of the version stay the same. Such a run ends in
`deltareg.service.push.reencode`, which receives the new form like a push.
"""

from collections.abc import Callable
from typing import Final, Literal
from uuid import UUID, uuid4

import sqlalchemy as sa

from deltareg.codec import ENTRY_BYTES, FRAME_BYTES
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.runs import runs as queries
from deltareg.db.runs import runs_on_bases as waiting_queries
from deltareg.db.runs.rows import RunRow
from deltareg.delta.kind import BaseView
from deltareg.errors import DeltaregError
from deltareg.identity.manifest import Manifest, ManifestTensor
from deltareg.identity.pack_spans import MOST_TIMES, cold_bytes
from deltareg.identity.storage_map import StorageMap
from deltareg.service.priority import BACKGROUND
from deltareg.service.registry import Caller
from deltareg.service.runs.kinds.kind import RunKind

WHAT: Final = "reencode"
Against = Literal["base", "smallest"]
_UNDONE = {"queued", "running", "dead"}


def queue_reencode(conn: sa.Connection, caller: Caller, version: VersionRow, *, against: Against, run_id: str) -> str:
    """Queue a re-encode run in the caller's transaction, or join the one under way; return its id.

    Args:
        conn: The transaction.
        caller: Who asks.
        version: The version.
        against: `base` flattens in any case; `smallest` also tries the version before, and changes
            nothing unless the result is smaller.
        run_id: The id of a new run.
    """
    return queries.enqueue(
        conn,
        run_id=run_id,
        what=WHAT,
        dedup_key=f"{WHAT}:{version.id}:{against}",
        version_id=version.id,
        request={"against": against},
        priority=BACKGROUND,
        created_by=caller.principal_id,
    )


def queue_for_cold_pulls(
    conn: sa.Connection, version: VersionRow, *, created_by: int | None, new_id: Callable[[], UUID] = uuid4
) -> None:
    """Queue a run that stores a version against its base alone, if that may spare cold machines much.

    What it would take alone, only the run can say: if the version is within the bound, it stays as it
    is. A version is looked at once for each form that it is served in.
    """
    if version.cold_bytes is not None and version.cold_bytes <= MOST_TIMES * version.stored_bytes:
        return
    if not _leans_on_others(conn, version):
        return
    key = f"{WHAT}:{version.id}:cold:{version.storage_revision}"
    if queries.was_done(conn, key):
        return
    queries.enqueue(
        conn,
        run_id=str(new_id()),
        what=WHAT,
        dedup_key=key,
        version_id=version.id,
        request={"against": "base", "is_for_cold_pulls": True},
        priority=BACKGROUND,
        created_by=created_by,
    )


def _leans_on_others(conn: sa.Connection, version: VersionRow) -> bool:
    """Whether a cold machine fetches more than the version's own chunks would take in packs of its own."""
    try:
        content = version_queries.content(conn, version.id)
        manifest, storage = Manifest.decode(content.manifest), StorageMap.decode(content.storage_map)
        pieces = [storage.chain(digest).piece for digest in manifest.pieces()]
    except DeltaregError:  # a damaged row is for fsck to tell, and no move fails for it
        return False
    own = {(chunk.pack, chunk.offset): chunk.length for piece in pieces for chunk in piece.chunks}
    packs = {pack for pack, _ in own}
    alone = sum(own.values()) + ENTRY_BYTES * len(own) + FRAME_BYTES * len(packs)
    return cold_bytes(manifest, storage) > MOST_TIMES * alone


def queue_where_base_was_missed(
    conn: sa.Connection, caller: Caller, base_id: int, *, new_id: Callable[[], UUID] = uuid4
) -> None:
    """Queue a run for each version that waits for a base, now that the base is stored.

    A run under way may be on its last attempt without the base: it gets as many attempts as a new
    one. Versions that were re-encoded since, or whose run was cancelled, are left alone.
    """
    states: dict[int, set[str]] = {}
    for run in waiting_queries.reencodes_on_base(conn, base_id):
        if run.request["against"] == "smallest":
            states.setdefault(run.version_id, set()).add(run.state)
    waiting = [each for each, seen in states.items() if "done" not in seen and seen & _UNDONE]
    for version in version_queries.versions_by_ids(conn, waiting).values():
        new_run_id = str(new_id())
        run_id = queue_reencode(conn, caller, version, against="smallest", run_id=new_run_id)
        if run_id != new_run_id:
            queries.renew_attempts(conn, run_id)


def _leave_as_is(conn: sa.Connection, run: RunRow, *, outcome_id: str, created_by: int | None) -> None:
    """Change nothing when a run is dead: the version stays stored as it is."""


KIND = RunKind(WHAT, on_base=queue_where_base_was_missed, on_death=_leave_as_is)


def misses_its_base(manifest: Manifest, storage: StorageMap, base: BaseView) -> bool:
    """Whether a version is stored without its base although the base has matching tensors.

    That happens when the bytes of the base were not at hand where it was pushed from.
    """
    return not storage.outside and any(_is_like(base, tensor) for tensor in manifest.tensors)


def _is_like(base: BaseView, tensor: ManifestTensor) -> bool:
    record = base.tensors.get(base.names.tensor(tensor.name) or tensor.name)
    return record is not None and (record.dtype, record.shape) == (tensor.dtype, tensor.shape)
