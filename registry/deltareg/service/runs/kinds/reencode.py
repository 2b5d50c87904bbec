"""Runs that re-encode a version: queued by `flatten`, or by a push without its base.

If no worker has that base either, the run dies; it is queued again when the base is stored. The
manifest, digest and number of the version stay the same. Such a run ends in
`deltareg.service.push.reencode`, which receives the new form like a push.
"""

from collections.abc import Callable
from typing import Final, Literal
from uuid import UUID, uuid4

import sqlalchemy as sa

from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.runs import runs as queries
from deltareg.db.runs import runs_on_bases as waiting_queries
from deltareg.db.runs.rows import RunRow
from deltareg.delta.kind import BaseView
from deltareg.identity.manifest import Manifest, ManifestTensor
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
