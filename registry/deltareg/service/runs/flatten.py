"""Queueing a re-encode run: asked for by `flatten`, or by a push that had no base at hand.

Where no worker had that base either, the run is dead; it is queued again when the base is stored.

A re-encode run stores a version in another way. Manifest, digest and number stay what they are.
"""

from collections.abc import Callable
from typing import Literal
from uuid import UUID, uuid4

import sqlalchemy as sa

from deltareg.db.queries import runs as queries
from deltareg.db.queries import versions as version_queries
from deltareg.db.rows import VersionRow
from deltareg.db.session import with_retry
from deltareg.delta.kind import BaseView
from deltareg.errors import Blocked
from deltareg.identity.manifest import Manifest, ManifestTensor
from deltareg.identity.storage_map import StorageMap
from deltareg.refs import Ref
from deltareg.service.describe import ref_of
from deltareg.service.priority import BACKGROUND
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_version
from deltareg.service.runs.runs import describe_run
from deltareg.wire import RunInfo

Against = Literal["base", "smallest"]
_UNDONE = {"queued", "running", "dead"}


def flatten(
    registry: Registry, caller: Caller, ref: Ref, *, new_id: Callable[[], UUID] = uuid4
) -> RunInfo:
    """Queue a run that stores a version against its base alone, or join the one under way.

    Raises:
        NotFound: No such version.
        Blocked: It is deleted.
    """
    caller.require("push")

    def transaction(conn: sa.Connection) -> RunInfo:
        version = find_version(conn, ref, bare="newest")
        if version.deleted_at is not None:
            raise Blocked(f"{ref_of(version)} is deleted", fix="name another version")
        wanted = str(new_id())
        run_id = queue_reencode(conn, caller, version, against="base", run_id=wanted)
        if run_id == wanted:
            after = {"version": ref_of(version), "what": "reencode", "against": "base"}
            caller.record(conn, "run.queue", f"run/{run_id}", before=None, after=after)
        return describe_run(conn, run_id)

    return with_retry(registry.engine, transaction)


def queue_reencode(
    conn: sa.Connection, caller: Caller, version: VersionRow, *, against: Against, run_id: str
) -> str:
    """Queue a re-encode run in the caller's transaction, or join the one under way; give its id.

    Args:
        conn: The transaction.
        caller: Who asks.
        version: The version.
        against: `base` flattens, whatever comes of it; `smallest` also tries the version before and
            changes nothing unless less is stored then.
        run_id: The id of a new run.
    """
    return queries.enqueue(
        conn, run_id=run_id, what="reencode", dedup_key=f"reencode:{version.id}:{against}",
        version_id=version.id, request={"against": against}, priority=BACKGROUND,
        created_by=caller.principal_id,
    )  # fmt: skip


def queue_where_base_was_missed(
    conn: sa.Connection, caller: Caller, base_id: int, *, new_id: Callable[[], UUID] = uuid4
) -> None:
    """Queue a run for each version that waits for a base, now that the base is stored.

    A run under way may have had its last attempt without the base: it gets as many as a new one.
    What was stored anew since, or had its run cancelled, is left alone.
    """
    states: dict[int, set[str]] = {}
    for run in queries.reencodes_on_base(conn, base_id):
        if run.request["against"] == "smallest":
            states.setdefault(run.version_id, set()).add(run.state)
    waiting = [each for each, seen in states.items() if "done" not in seen and seen & _UNDONE]
    for version in version_queries.versions_by_ids(conn, waiting).values():
        wanted = str(new_id())
        run_id = queue_reencode(conn, caller, version, against="smallest", run_id=wanted)
        if run_id != wanted:
            queries.renew_attempts(conn, run_id)


def misses_its_base(manifest: Manifest, storage: StorageMap, base: BaseView) -> bool:
    """Whether a version is stored without its base although the base has tensors like its own.

    So it is when the base's bytes were not at hand where it was pushed from.
    """
    return not storage.outside and any(_is_like(base, tensor) for tensor in manifest.tensors)


def _is_like(base: BaseView, tensor: ManifestTensor) -> bool:
    record = base.tensors.get(base.names.tensor(tensor.name) or tensor.name)
    return record is not None and (record.dtype, record.shape) == (tensor.dtype, tensor.shape)
