"""Re-encoding: the worker that holds the run proposes another stored form of a version.

The worker sends an upload by protocol D, like a push. The end is one transaction: it checks that
the run is still held under its fence, the upload is open and every pack durable and live. Then it
proposes the form with its packs, queues a run that proves it, and ends this run. The version is
served as before until somebody else has decoded the form (`deltareg.service.push.proposals`).
"""

from collections.abc import Callable
from uuid import UUID, uuid4

import sqlalchemy as sa

from deltareg.db.bases import bases as base_queries
from deltareg.db.lines import versions as queries
from deltareg.db.lines.deltas import lock_line
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.runs import runs as run_queries
from deltareg.db.runs.rows import RunRow
from deltareg.db.session import read, with_retry
from deltareg.db.sql.document import StoredDocuments
from deltareg.db.sql.row_protocols import present
from deltareg.db.storage import packs as pack_queries
from deltareg.db.storage import uploads as upload_queries
from deltareg.db.storage.rows import UploadRow
from deltareg.errors import Conflict, InvalidInput, NotFound, Problem, Refused, UploadClosed
from deltareg.identity.manifest import Manifest
from deltareg.identity.pack_spans import MOST_TIMES, cold_bytes
from deltareg.identity.storage_map import StorageMap
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.describe import ref_of
from deltareg.service.digest_cache import view_of_base
from deltareg.service.push.forms import propose_form
from deltareg.service.push.received import adopt_packs, pack_keys, read_back
from deltareg.service.push.uploads import check_open, find_own_upload, manifest_of
from deltareg.service.registry import Caller, Registry, namespace_scope
from deltareg.service.runs.kinds.reencode import WHAT
from deltareg.service.runs.lost_lease import lease_lost
from deltareg.service.runs.runs import describe_run
from deltareg.service.verdicts.signed_work import check_signed
from deltareg.wire import LeaseHold, ReceivedPack, ReencodeReport, RunInfo, UploadInfo

_AGAIN = "claim the run again"
_CURRENT = "run the worker of the registry's release"


def open_reencode(
    registry: Registry, caller: Caller, hold: LeaseHold, *, new_id: Callable[[], UUID] = uuid4
) -> UploadInfo:
    """Open an upload for the new form of a version, as the holder of its run.

    It offers as known the pieces in packs that others need as well: those packs stay in any case,
    so reusing them costs nothing.

    Raises:
        LeaseLost: The run is not the caller's.
        Conflict: The version was deleted meanwhile.
    """
    caller.require(Right.VERIFY, on=EVERYTHING)
    own = run_queries.RunClaim(hold.run, hold.fence, caller.principal_id)
    upload_id = str(new_id())

    def transaction(conn: sa.Connection) -> UploadInfo:
        version = _held_version(conn, own)
        content = queries.content(conn, version.id)
        upload_queries.add_upload(
            conn,
            upload_id=upload_id,
            principal_id=caller.principal_id,
            scope=namespace_scope(version.namespace),
            subject="delta",
            target=ref_of(version),
            manifest_digest=version.manifest_digest,
            manifest=content.manifest,
            request={"run": hold.run, "fence": hold.fence},
        )
        pieces, refs = _find_shared(conn, version, content)
        return UploadInfo(
            id=upload_id, state="open", manifest_digest=version.manifest_digest, known=pieces, known_packs=refs
        )

    return with_retry(registry.engine, transaction)


def complete_reencode(registry: Registry, caller: Caller, run_id: str, report: ReencodeReport) -> RunInfo:
    """Propose a form of a version and end the run; the same report again gets the same answer.

    Raises:
        LeaseLost: The run is not the caller's (any more); nothing changes.
        Refused: The map does not cover the version, or its headers are not what they were.
        UploadClosed: A pack that the map relies on is gone, or the upload was aborted.
        Conflict: The version was deleted meanwhile.
        BadSignature: The report was not signed under the lease.
    """
    caller.require(Right.VERIFY, on=EVERYTHING)
    own = run_queries.RunClaim(run_id, report.fence, caller.principal_id)
    with read(registry.engine) as conn:
        upload = find_own_upload(conn, caller, report.upload, lock=False)
        run = run_queries.run_row(conn, run_id)
        version_id = None if run is None else run.version_id
        earlier = _answered_before(conn, caller, own)
        held = None if earlier is not None else run_queries.held_run(conn, own)
        if held is not None:  # else it is refused below
            check_signed(conn, held, report, principal_id=caller.principal_id)
    if earlier is not None:
        return earlier
    if upload.request.get("run") != run_id:
        raise InvalidInput("this upload is not of this run")
    check_open(upload, fix=_AGAIN)
    storage = StorageMap.decode(report.storage_map.encode())
    _check_claim(registry, caller, own, upload, storage, of_version=version_id)
    return with_retry(registry.engine, lambda conn: _commit(conn, caller, own, report, storage))


def _held_version(conn: sa.Connection, own: run_queries.RunClaim) -> VersionRow:
    run = run_queries.held_run(conn, own)
    if run is None or run.what != WHAT:
        raise lease_lost(conn, own)
    version = queries.version_by_id(conn, present(run.version_id))
    if version.deleted_at is not None:
        raise Conflict(f"{ref_of(version)} was deleted meanwhile", fix="drop the run")
    return version


def _find_shared(
    conn: sa.Connection, version: VersionRow, content: StoredDocuments
) -> tuple[dict[str, str], list[ReceivedPack]]:
    """Return the pieces of a version in packs that something else needs too, and those packs."""
    storage = StorageMap.decode(content.storage_map)
    shared = pack_queries.shared_packs(conn, version.id)
    chains = map(storage.chain, Manifest.decode(content.manifest).pieces())
    pieces = {
        str(chain.piece.digest): chain.encode().decode()
        for chain in chains
        if chain.piece.chunks and {str(pack) for pack in chain.packs} <= shared.keys()
    }
    return pieces, [ReceivedPack(digest=d, size_bytes=size) for d, size in shared.items()]


def _answered_before(conn: sa.Connection, caller: Caller, own: run_queries.RunClaim) -> RunInfo | None:
    """Return the run if this holder has ended it already: the first answer may have been lost."""
    run = run_queries.run_row(conn, own.run_id)
    is_done = run is not None and run.state == "done" and run.fence == own.fence
    return describe_run(conn, caller, own.run_id) if is_done else None


def _check_claim(
    registry: Registry,
    caller: Caller,
    own: run_queries.RunClaim,
    upload: UploadRow,
    storage: StorageMap,
    *,
    of_version: int | None,
) -> None:
    """Check a new map against the manifest, the base, and the files readable without the base."""
    manifest = manifest_of(upload)
    with read(registry.engine) as conn:
        row = base_queries.base_of(conn, _held_version(conn, own))
        if row is None:
            raise NotFound(f"the base of {upload.target} is not here", fix="deltareg base ls")
        base = view_of_base(row.manifest_digest, lambda: base_queries.base_content(conn, row.id).manifest)
        keys = pack_keys(conn, upload, storage, of_version=of_version)
    storage.check_covers(manifest, (record.digest for record in base.tensors.values()))
    read_back(registry, caller, upload, keys, storage, look=lambda stored: stored.delta_files(manifest))


def _commit(
    conn: sa.Connection, caller: Caller, own: run_queries.RunClaim, report: ReencodeReport, storage: StorageMap
) -> RunInfo:
    upload = find_own_upload(conn, caller, report.upload, lock=True)
    check_open(upload, fix=_AGAIN)
    version = _held_version(conn, own)
    lock_line(conn, version.delta_id)  # a move to another namespace changes where its packs belong
    queries.lock_version(conn, version.id)
    version = _held_version(conn, own)  # it may have been deleted before it was locked
    if upload.scope != namespace_scope(version.namespace):
        raise UploadClosed(f"{ref_of(version)} was moved to another namespace meanwhile", fix=_AGAIN)
    run = run_queries.run_row(conn, own.run_id)
    manifest = manifest_of(upload)
    before = StorageMap.decode(queries.content(conn, version.id).storage_map)
    is_kept = run is not None and not _is_wanted(run, manifest, before, storage)
    sizes = {
        "before": before.stored_bytes(manifest.pieces()),
        "after": (before if is_kept else storage).stored_bytes(manifest.pieces()),
    }
    result: dict[str, object] = {"stored_bytes": sizes}
    if not is_kept:
        result["proof_run"] = propose_form(
            conn,
            version.id,
            adopt_packs(conn, caller, upload, storage).values(),
            raw_map=report.storage_map.encode(),
            stored_bytes=sizes["after"],
            sent_by=caller.principal_id,
            run_id=own.run_id,
        )
    state = "aborted" if is_kept else "complete"
    upload_queries.close_upload(conn, upload.id, state=state, version_id=version.id)
    if run_queries.finish(conn, own, state="done", result=result) is None:
        raise lease_lost(conn, own)
    return describe_run(conn, caller, own.run_id)


def _is_wanted(run: RunRow, manifest: Manifest, before: StorageMap, after: StorageMap) -> bool:
    """Whether the new form should replace the old one.

    Raises:
        Refused: The form should be encoded against the base alone, and is not.
    """
    own = manifest.pieces()
    if run.request["against"] == "base":
        if any(len(after.chain(digest).pieces) > 1 for digest in own):
            wrong = "storage map: it is not against the base alone"
            raise Refused([Problem("header", wrong, fix=_CURRENT)])
        is_for_cold = bool(run.request.get("is_for_cold_pulls"))
        return not is_for_cold or cold_bytes(manifest, before) > MOST_TIMES * cold_bytes(manifest, after)

    def cost(storage: StorageMap) -> tuple[int, int]:
        # At equal bytes of its own a version that needs less of others' is better.
        return storage.stored_bytes(own), storage.stored_bytes(storage.pieces)

    return cost(after) < cost(before)
