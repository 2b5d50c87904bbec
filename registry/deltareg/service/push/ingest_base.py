"""A base, pushed with its bytes or only registered; its fingerprint is computed here.

A base may be a version folded into its own base; then it is checked against those as well.

Every header of a pushed base is read back. The worker's `digests` check, and each pull, compare the
bytes with the tensor digests that the manifest claims.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.bases import bases as queries
from deltareg.db.bases.base_identities import complete_base as replace_manifest
from deltareg.db.bases.base_identities import is_alias
from deltareg.db.bases.rows import BaseRow
from deltareg.db.lines.deltas import add_namespace, lock_line, namespace_id
from deltareg.db.session import read, with_retry
from deltareg.db.sql.row_protocols import present
from deltareg.db.storage import packs as pack_queries
from deltareg.db.storage import proofs
from deltareg.db.storage import uploads as upload_queries
from deltareg.db.storage.rows import UploadRow
from deltareg.db.storage.shares import PackHolder
from deltareg.delta.base_manifest import (
    SAME_PARAMETERS_RULE,
    base_identity,
    base_view,
    build_base_manifest,
    components_of,
    parameters_root,
)
from deltareg.delta.kind import BaseView
from deltareg.errors import Conflict, DeltaregError, InvalidInput, Problem, Refused, UploadClosed
from deltareg.identity.manifest import Manifest
from deltareg.identity.storage_map import StorageMap
from deltareg.identity.whole_base import whole_base
from deltareg.service.access.founding import check_free, give_owner
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import SOMEWHERE, Base
from deltareg.service.base_parts import with_identity
from deltareg.service.bases.completion import check_completion, complete
from deltareg.service.bases.probes import draw_probes
from deltareg.service.bases.stacks import (
    StackFoundation,
    bottom_records,
    check_result,
    find_ground,
    is_version_base,
    record_stack,
)
from deltareg.service.bases.variants import check_variant, settle
from deltareg.service.describe import describe_base
from deltareg.service.events import Action
from deltareg.service.push.receive import give_up_when_over
from deltareg.service.push.received import adopt_packs, pack_keys, read_back
from deltareg.service.push.shares import keep_share
from deltareg.service.push.uploads import abort_upload, check_open, find_own_upload, manifest_of, target_of
from deltareg.service.quotas.holding import within_quotas
from deltareg.service.registry import Caller, Registry, namespace_scope
from deltareg.service.runs.kinds import queue_where_base_was_missed
from deltareg.service.runs.kinds.prove import queue_proof
from deltareg.wire import BaseForm, BaseInfo, UploadComplete

_AGAIN = "run the same push again; what is stored already is not sent twice"


def register_base(registry: Registry, caller: Caller, upload_id: str) -> BaseInfo:
    """Turn an upload without packs into a base whose bytes stay where they are.

    Raises:
        UploadClosed: The upload was aborted: register again.
    """
    caller.require(Right.PUSH, on=SOMEWHERE)
    with read(registry.engine) as conn:
        upload = _find_upload(conn, caller, upload_id)
    caller.require(Right.PUSH, on=target_of(upload))
    return with_retry(registry.engine, lambda conn: _commit(conn, caller, upload_id, None))


def complete_base(registry: Registry, caller: Caller, upload_id: str, request: UploadComplete) -> BaseInfo:
    """Turn an upload into a stored base; a registered base of the same content gets its bytes.

    Doing it again returns the same base.

    Raises:
        Refused: The upload is not what the manifest claims.
        UploadClosed: The upload was aborted: push again.
    """
    caller.require(Right.PUSH, on=SOMEWHERE)
    with read(registry.engine) as conn:
        upload = _find_upload(conn, caller, upload_id)
        if upload.state == "complete":
            return _answer(conn, upload, created=False)
    check_open(upload)
    caller.require(Right.PUSH, on=target_of(upload))
    raw = request.storage_map.encode()
    try:
        storage = StorageMap.decode(raw)
        recipe = _check_claim(registry, caller, upload, storage)
    except DeltaregError as error:
        if not error.retryable:
            abort_upload(registry, caller, upload_id)
        raise
    stored = _Stored(storage, raw, recipe)

    def transaction(conn: sa.Connection) -> BaseInfo:
        locked = find_own_upload(conn, caller, upload_id, lock=True)
        with within_quotas(conn, locked.scope, caller.principal_id):
            return _commit(conn, caller, upload_id, stored)

    with give_up_when_over(upload_id, registry, caller):
        return with_retry(registry.engine, transaction)


def _find_upload(conn: sa.Connection, caller: Caller, upload_id: str) -> UploadRow:
    upload = find_own_upload(conn, caller, upload_id, lock=False)
    if upload.subject != "base":
        raise InvalidInput("this upload is of a delta")
    return upload


@dataclass(frozen=True, slots=True)
class _Stored:
    """How the bytes of a base are stored.

    Attributes:
        storage: The storage map.
        raw: The storage map as it was received.
        recipe: How the values were computed, for a version that became a base.
    """

    storage: StorageMap
    raw: bytes
    recipe: str


def _check_claim(registry: Registry, caller: Caller, upload: UploadRow, storage: StorageMap) -> str:
    """Check an upload against its manifest; return the recipe of a version that is a base."""
    manifest = manifest_of(upload)
    with read(registry.engine) as conn:
        ground = _ground(conn, caller, upload)
        below = {} if ground is None else bottom_records(conn, ground)
    storage.check_covers(manifest, (record.digest for record in below.values()))
    with read(registry.engine) as conn:
        keys = pack_keys(conn, upload, storage)
    files = read_back(registry, caller, upload, keys, storage, look=lambda stored: stored.delta_files(manifest))
    expected = build_base_manifest(
        headers=files.headers,
        files=manifest.files,
        digests={(t.file, t.name): t.digest for t in manifest.tensors},
        config_text=str(manifest.config["config_json"]),
        components=components_of(manifest),
    )
    if expected.encode() != manifest.encode():
        message = "the manifest does not follow from the files that came with it"
        raise Refused([Problem("kind_mismatch", message, fix="push with the server's version")])
    return "" if ground is None else check_result(registry, ground, manifest)


def _ground(conn: sa.Connection, caller: Caller, upload: UploadRow) -> StackFoundation | None:
    target = upload.target
    return find_ground(conn, caller, target) if is_version_base(target) else None


def _lock_ground(conn: sa.Connection, caller: Caller, upload: UploadRow) -> StackFoundation | None:
    """Find the version that is to become a base, and let its line lie where it lies until the transaction ends."""
    ground = _ground(conn, caller, upload)
    if ground is None:
        return None
    lock_line(conn, ground.version.delta_id)
    ground = present(_ground(conn, caller, upload))
    if upload.scope != namespace_scope(ground.version.namespace):
        raise UploadClosed(f"{upload.target} was moved to another namespace meanwhile", fix=_AGAIN)
    return ground


def _commit(conn: sa.Connection, caller: Caller, upload_id: str, stored: _Stored | None) -> BaseInfo:
    upload = find_own_upload(conn, caller, upload_id, lock=True)
    if upload.state == "complete":
        return _answer(conn, upload, created=False)
    check_open(upload)
    ground = _lock_ground(conn, caller, upload)
    form = BaseForm.model_validate(upload.request.get("form", {}))
    check_variant(conn, caller, form, manifest_of(upload))
    is_added = _add(conn, caller, upload)
    existing = _complete_known(conn, caller, upload, has_bytes=stored is not None)
    base_id = existing.id
    settle(conn, caller, existing, form)
    draw_probes(conn, existing, manifest_of(upload))
    if is_added:
        _relate(conn, base_id, base_view(manifest_of(upload)))
        if ground is not None and stored is not None:
            record_stack(conn, ground, base_id, recipe=stored.recipe)
    is_healing = stored is not None and existing.corrupt_at is not None
    is_new = is_added or (stored is not None and not existing.is_stored) or is_healing
    if stored is not None and is_new:
        _store(conn, caller, upload, existing, stored)
        queue_where_base_was_missed(conn, caller, base_id)
    upload_queries.close_upload(conn, upload_id, state="complete", base_id=base_id)
    info = _answer(conn, upload, created=is_new)
    if is_new:
        action = Action.BASE_REGISTER if stored is None else Action.BASE_PUSH
        action = Action.BASE_HEAL if is_healing else action
        after = {"root": info.root, "is_stored": info.is_stored}
        caller.record(conn, action, f"base/{info.name}", on=Base(info.name), before=None, after=after)
    return info


def _answer(conn: sa.Connection, upload: UploadRow, *, created: bool) -> BaseInfo:
    rows = queries.base_rows(conn, name=upload.target, limit=1)
    if not rows:
        raise _make_conflict(upload)
    sent_bytes = upload_queries.uploaded_bytes(conn, upload.id)
    return describe_base(conn, rows[0], created=created).model_copy(update={"uploaded_bytes": sent_bytes})


def _make_conflict(upload: UploadRow) -> Conflict:
    return Conflict(f"{upload.target} was deleted meanwhile", fix="name another version")


def _complete_known(conn: sa.Connection, caller: Caller, upload: UploadRow, *, has_bytes: bool) -> BaseRow:
    rows = queries.base_rows(conn, name=upload.target, limit=1, lock=True)
    if not rows:
        raise _make_conflict(upload)
    manifest = manifest_of(upload)
    root = str(base_identity(manifest).root)
    is_same_fold = is_version_base(upload.target) and rows[0].root == root
    if rows[0].manifest_digest == upload.manifest_digest or is_same_fold:
        return with_identity(conn, rows[0])
    check_completion(conn, caller, rows[0], manifest, has_bytes=has_bytes)
    complete(conn, caller, rows[0], manifest, present(upload.manifest))
    return queries.base_rows(conn, base_id=rows[0].id, limit=1)[0]


def _store(conn: sa.Connection, caller: Caller, upload: UploadRow, known: BaseRow, stored: _Stored) -> None:
    """Store the bytes of a base, replacing corrupt ones if there are any."""
    storage, held = stored.storage, PackHolder(known.id, is_base=True)
    is_healing = known.corrupt_at is not None
    pack_ids = adopt_packs(conn, caller, upload, storage, of=held, is_replacing=is_healing)
    manifest = manifest_of(upload)
    if is_healing:
        _take_manifest(conn, upload, known, manifest)
    size = storage.stored_bytes(manifest.pieces())
    queries.store_base(conn, known.id, storage_map=stored.raw, stored_bytes=size)
    pack_queries.reference_base_anew(conn, known.id, sorted(pack_ids.values()))
    keep_share(conn, held, manifest, storage)
    proofs.claim_anew(conn, held, sent_by=caller.principal_id)
    queue_proof(conn, held, created_by=caller.principal_id)


def _take_manifest(conn: sa.Connection, upload: UploadRow, known: BaseRow, manifest: Manifest) -> None:
    """Replace the manifest of a base whose bytes are pushed again by the pushed manifest.

    It is the same manifest, whose row may be damaged, or that of another fold of the same version,
    which differs only in parts that do not matter to the identity.

    Raises:
        Refused: Parts beside the tensors differ, so the identity does too.
    """
    raw = present(upload.manifest)
    if known.manifest_digest == upload.manifest_digest:
        queries.restore_manifest(conn, known.id, raw)
        return
    if known.identity != str(whole_base(manifest).identity):
        message = f"this fold of {known.name} has another identity than the one that was stored"
        raise Refused([Problem("base_mismatch", message, fix="fold it with the client that stored it")])
    replace_manifest(
        conn, known.id, manifest_digest=upload.manifest_digest, manifest=raw, logical_bytes=manifest.logical_bytes
    )


def _relate(conn: sa.Connection, base_id: int, view: BaseView) -> None:
    """Record, in both directions, other bases with the same parameters but another fingerprint."""
    own = parameters_root(view)
    for row in queries.contents_of_others(conn, base_id):
        try:
            other = base_view(Manifest.decode(row.manifest))
        except DeltaregError:  # its row is damaged, which is no reason to refuse this one
            continue
        if other.root != view.root and parameters_root(other) == own:
            for one, two in ((base_id, other.root), (row.id, view.root)):
                queries.add_relation(
                    conn, one, other_root=str(two), relation="same_parameters", rule_version=SAME_PARAMETERS_RULE
                )


def _add(conn: sa.Connection, caller: Caller, upload: UploadRow) -> bool:
    if queries.base_rows(conn, name=upload.target, limit=1):
        return False
    manifest = manifest_of(upload)
    identity = base_identity(manifest)
    is_added = queries.add_base(
        conn,
        name=upload.target,
        root=str(identity.root),
        config_digest=str(identity.config),
        tokenizer_digest=None if identity.tokenizer is None else str(identity.tokenizer),
        manifest_digest=upload.manifest_digest,
        manifest=upload.manifest,
        storage_map=None,
        location=None if is_version_base(upload.target) else upload.request["location"],
        logical_bytes=manifest.logical_bytes,
        stored_bytes=0,
        created_by=caller.principal_id,
    )
    if is_added and is_alias(conn, upload.target):  # it was renamed from there meanwhile
        raise Conflict(f"{upload.target} is another base's name", fix="choose another name")
    if is_added:
        _make_namespace(conn, caller, Base(upload.target).namespace)
    return is_added


def _make_namespace(conn: sa.Connection, caller: Caller, namespace: str | None) -> None:
    """Create the namespace of a base if it is new; the caller owns it, like any other."""
    if namespace is None or namespace_id(conn, namespace) is not None:
        return
    check_free(namespace)
    added = add_namespace(conn, namespace, created_by=caller.principal_id)
    if added.is_new:
        give_owner(conn, caller, added.id)
