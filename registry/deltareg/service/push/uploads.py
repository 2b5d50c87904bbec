"""A push, first half: open an upload, which receives packs (`receive`), and abort or show it.

Protocol D (docs/design.md, Stored form): the physical key is written to the database before its
first byte to the store, is never used twice, and counts only once the upload is complete. A process
that dies in between leaves bytes that collection finds, and nothing else.
"""

from collections.abc import Callable
from uuid import UUID, uuid4

import sqlalchemy as sa

from deltareg.db.bases import bases as base_queries
from deltareg.db.bases.rows import BaseRow
from deltareg.db.lines import deltas as delta_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.runs.runs import RunClaim, held_run
from deltareg.db.session import read, with_retry
from deltareg.db.sql.row_protocols import present
from deltareg.db.storage import packs as pack_queries
from deltareg.db.storage import uploads as queries
from deltareg.db.storage.rows import UploadRow
from deltareg.db.storage.shares import PackHolder
from deltareg.delta.base_manifest import base_identity
from deltareg.errors import LeaseLost, NotFound, UploadClosed
from deltareg.identity.manifest import Manifest
from deltareg.refs import LineRef, Ref
from deltareg.service.access.founding import require_push
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import SOMEWHERE, Base, Resource
from deltareg.service.bases.completion import check_completion
from deltareg.service.bases.stacks import find_ground, is_version_base
from deltareg.service.bases.variants import check_variant, settle
from deltareg.service.describe import describe_base, describe_version, proof_of, sender_of
from deltareg.service.digest_cache import decode_manifest
from deltareg.service.lines.details import add_details
from deltareg.service.push.bound_base import base_for, bound_to, check_same_base, open_one
from deltareg.service.push.damage import QUICK_BYTES, find_damage_of
from deltareg.service.push.places import find_known
from deltareg.service.push.targets import check_target
from deltareg.service.quotas.holding import within_quotas
from deltareg.service.quotas.room import explain_room
from deltareg.service.registry import Caller, Registry
from deltareg.wire import ReceivedPack, UploadInfo, UploadOpen
from deltareg.words import QuotaResource

_AGAIN = "run the same push again; what is stored already is not sent twice"


def open_upload(
    registry: Registry, caller: Caller, request: UploadOpen, *, new_id: Callable[[], UUID] = uuid4
) -> UploadInfo:
    """Open a push, or find the open one of the same content, or the version that it became.

    Raises:
        Refused: The manifest is malformed, or its base is unknown here.
        Forbidden: The token does not allow it.
        OverQuota: A quota leaves no room for anything more.
    """
    caller.require(Right.PUSH, on=SOMEWHERE)
    request = _with_current_names(caller, request)
    raw = request.manifest.encode()
    digest = str(Manifest.digest_of(raw))
    manifest = decode_manifest(digest, lambda: raw)
    scope = check_target(request, manifest)

    def transaction(conn: sa.Connection) -> UploadInfo:
        require_push(conn, caller, on=target_of(request))
        base = None if manifest.base is None else base_for(conn, caller, request, manifest)
        existing = _find_done(conn, caller, request, manifest, base)
        if existing is not None:
            return existing
        row = open_one(conn, caller, request, digest, base)
        if row is None:
            upload_id = str(new_id())
            needs: tuple[QuotaResource, ...] = ("bytes", "versions") if request.subject == "delta" else ("bytes",)
            with within_quotas(conn, scope, caller.principal_id, needs=needs):
                queries.add_upload(
                    conn,
                    upload_id=upload_id,
                    principal_id=caller.principal_id,
                    scope=scope,
                    subject=request.subject,
                    target=request.target,
                    manifest_digest=digest,
                    manifest=raw,
                    request=request.model_dump(exclude={"manifest"}) | bound_to(base),
                )
        else:
            upload_id = row.id
            queries.touch_upload(conn, upload_id)
        root = _reference_root(conn, caller, request.target, manifest)
        return _show(conn, upload_id, digest, scope, manifest, root)

    with explain_room(registry.engine):
        info = with_retry(registry.engine, transaction)
    if info.state == "complete" and _is_found_damaged(registry, caller, info):
        return with_retry(registry.engine, transaction)
    return info


def _is_found_damaged(registry: Registry, caller: Caller, info: UploadInfo) -> bool:
    """Whether a quick check finds damage in what an answer claims is stored already."""
    with read(registry.engine) as conn:
        held = _held_by(conn, info)
    damaged = find_damage_of(registry, caller, held, most_bytes=QUICK_BYTES)
    return any(not hurt.is_served for hurt in damaged)


def _held_by(conn: sa.Connection, info: UploadInfo) -> PackHolder:
    if info.base is not None:
        row = base_queries.base_rows(conn, name=info.base.name, limit=1)[0]
        return PackHolder(row.id, is_base=True)
    ref = Ref.parse(present(info.version).ref)
    line = present(delta_queries.delta_row(conn, ref.line.namespace, ref.line.name))
    version = version_queries.find_version(conn, line.id, number=ref.version)
    return PackHolder(present(version).id)


def abort_upload(registry: Registry, caller: Caller, upload_id: str) -> None:
    """Abort an upload; its known bytes are deleted at once."""
    caller.require(Right.PUSH, on=SOMEWHERE)

    def close(conn: sa.Connection) -> list[str]:
        require_push(conn, caller, on=target_of(_find_own(conn, caller, upload_id)))
        queries.close_upload(conn, upload_id, state="aborted")
        return [row.physical_key for row in queries.received_packs(conn, upload_id)]

    for key in with_retry(registry.engine, close):
        registry.store.delete(key)


def show_upload(registry: Registry, caller: Caller, upload_id: str) -> UploadInfo:
    """Show an upload: what it has received, or what it became."""
    caller.require(Right.PUSH, on=SOMEWHERE)
    with read(registry.engine) as conn:
        row = _find_own(conn, caller, upload_id)
        require_push(conn, caller, on=target_of(row))
        if row.state == "open":
            manifest = manifest_of(row)
            root = _reference_root(conn, caller, row.target, manifest)
            return _show(conn, row.id, row.manifest_digest, row.scope, manifest, root)
        info = UploadInfo(id=row.id, state=row.state, manifest_digest=row.manifest_digest)
        if row.version_id is None:
            return info
        version = describe_version(conn, version_queries.version_by_id(conn, row.version_id))
        return info.model_copy(update={"version": version})


def find_own_upload(conn: sa.Connection, caller: Caller, upload_id: str, *, lock: bool) -> UploadRow:
    """Find an upload of the caller's; those of others count as unknown.

    Raises:
        NotFound: The caller has no such upload.
    """
    return _find_own(conn, caller, upload_id, lock=lock)


def _find_own(conn: sa.Connection, caller: Caller, upload_id: str, *, lock: bool = False) -> UploadRow:
    row = queries.upload_row(conn, upload_id, lock=lock)
    if row is None or row.principal_id != caller.principal_id:
        raise NotFound(f"there is no upload {upload_id[:40]}", fix=_AGAIN)
    return row


def find_open(conn: sa.Connection, caller: Caller, upload_id: str) -> UploadRow:
    """Find and lock an open upload that the caller may send to.

    Raises:
        NotFound: The caller has no such upload.
        UploadClosed: It is not open (any more).
        LeaseLost: It belongs to a run that the caller does not hold (any more).
    """
    row = _find_own(conn, caller, upload_id, lock=True)
    check_open(row)
    _check_right(conn, caller, row)
    return row


def check_open(upload: UploadRow, *, fix: str = _AGAIN) -> None:
    """Refuse an upload that is not open (any more): it has no manifest.

    Raises:
        UploadClosed: The upload is not open.
    """
    if upload.state != "open":
        raise UploadClosed(f"the upload is {upload.state}", fix=fix)


def manifest_of(upload: UploadRow) -> Manifest:
    """Decode the manifest of an upload that is open.

    Raises:
        Refused: The manifest is malformed.
    """
    return decode_manifest(upload.manifest_digest, lambda: present(upload.manifest))


def is_of_run(upload: UploadRow) -> bool:
    """Whether an upload brings the new form of a version, for the worker that holds the run."""
    return "run" in upload.request


def target_of(upload: UploadOpen | UploadRow) -> Resource:
    """Return the resource that a push brings bytes for."""
    target: str = upload.target
    return Base(target) if upload.subject == "base" else Ref.parse(target).line


def _check_right(conn: sa.Connection, caller: Caller, upload: UploadRow) -> None:
    """Check the right to send: a pusher for a push, a worker for a run that it holds."""
    if not is_of_run(upload):
        require_push(conn, caller, on=target_of(upload))
        return
    run, fence = upload.request["run"], upload.request["fence"]
    if not isinstance(run, str) or not isinstance(fence, int):
        raise TypeError(f"upload {upload.id} names no run and fence")
    own = RunClaim(run, fence, caller.principal_id)
    if held_run(conn, own) is None:
        raise LeaseLost(f"run {own.run_id} is not under your lease (any more)", fix="claim another")


def _with_current_names(caller: Caller, request: UploadOpen) -> UploadOpen:
    """Return a push with plain names, a former name of its line or base replaced by what it leads to."""
    names = {"base": caller.current_base(request.base) if request.base else ""}
    if request.subject == "base":
        names["target"] = caller.current_base(request.target)
    else:
        names["target"] = str(caller.current_line(LineRef.parse(request.target)))
    return request.model_copy(update=names)


def _find_done(
    conn: sa.Connection, caller: Caller, request: UploadOpen, manifest: Manifest, base: BaseRow | None
) -> UploadInfo | None:
    digest = str(Manifest.digest_of(request.manifest.encode()))
    if base is None:
        return _find_base(conn, caller, request, manifest, digest)
    line = LineRef.parse(request.target)
    delta = delta_queries.delta_row(conn, line.namespace, line.name)
    row = None if delta is None else version_queries.find_version(conn, delta.id, digest=digest)
    if row is None or is_wanted_again(row, caller):
        return None
    check_same_base(conn, row, base)
    if request.semver is not None:
        delta_queries.delta_row(conn, line.namespace, line.name, lock=True)  # of two that give one, one does
    row = add_details(conn, caller, row, semver=request.semver, message=request.message, labels=request.labels)
    info = UploadInfo(id="", state="complete", manifest_digest=digest)
    return info.model_copy(update={"version": describe_version(conn, row)})


def is_wanted_again(row: VersionRow, caller: Caller) -> bool:
    """Whether the caller should send the bytes of an existing version again.

    It should if the version is corrupt, or only claimed by another sender.
    """
    is_own = sender_of(row) == caller.principal_id
    return row.corrupt_at is not None or (proof_of(row) == "claimed" and not is_own)


def _find_base(
    conn: sa.Connection, caller: Caller, request: UploadOpen, manifest: Manifest, digest: str
) -> UploadInfo | None:
    rows = base_queries.base_rows(conn, name=request.target, limit=1)
    check_variant(conn, caller, request.form, manifest)
    if not rows:
        if is_version_base(request.target):
            find_ground(conn, caller, request.target)
        return None
    row = rows[0]
    # Two folds of one version may carry other notes beside the same tensors.
    is_same = row.version_id is not None and row.root == str(base_identity(manifest).root)
    if row.manifest_digest != digest and not is_same:
        check_completion(conn, caller, row, manifest, has_bytes=not request.register_only)
        return None
    is_sent = row.is_stored and row.corrupt_at is None
    if not is_sent and not request.register_only:
        return None
    settle(conn, caller, row, request.form)
    row = base_queries.base_rows(conn, base_id=row.id, limit=1)[0]
    info = UploadInfo(id="", state="complete", manifest_digest=digest)
    return info.model_copy(update={"base": describe_base(conn, row)})


def _reference_root(conn: sa.Connection, caller: Caller, target: str, manifest: Manifest) -> str:
    """Return the root of the base that pieces may be encoded against; empty for none."""
    if manifest.base is not None:
        return str(manifest.base)
    return find_ground(conn, caller, target).bottom_root if is_version_base(target) else ""


def _show(conn: sa.Connection, upload_id: str, digest: str, scope: str, manifest: Manifest, root: str) -> UploadInfo:
    received = [
        ReceivedPack(digest=row.digest, size_bytes=row.size_bytes) for row in queries.received_packs(conn, upload_id)
    ]
    chains = find_known(conn, scope, manifest.pieces(), root)
    packs = {piece: {str(pack) for pack in chain.packs} for piece, chain in chains.items()}
    sizes = pack_queries.physical_keys(conn, scope, set[str]().union(*packs.values()))
    return UploadInfo(
        id=upload_id,
        state="open",
        manifest_digest=digest,
        received=received,
        # A pack may be gone, or go between the two statements: offer only what has all.
        known={str(piece): chains[piece].encode().decode() for piece in packs if packs[piece] <= sizes.keys()},
        known_packs=[ReceivedPack(digest=d, size_bytes=size) for d, (_, size) in sizes.items()],
    )
