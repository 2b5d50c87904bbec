"""A push, second half: an upload becomes a version in one transaction, or nothing happens.

Before the transaction the server reads back every header and document and builds the manifest
itself; in it, the upload must still be open, every pack durable and live, and then manifest,
storage map, pack references, version, queued verification and audit row are one commit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID, uuid4

import sqlalchemy as sa

from deltareg.db.bases import bases as base_queries
from deltareg.db.bases import variants as variant_queries
from deltareg.db.bases.rows import BaseRow
from deltareg.db.lines import deltas as delta_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.rows import LineRow
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.session import read, with_retry
from deltareg.db.sql.document import PackedDocuments, pack_documents
from deltareg.db.sql.row_protocols import present
from deltareg.db.storage import forms
from deltareg.db.storage import packs as pack_queries
from deltareg.db.storage import uploads as queries
from deltareg.db.storage.rows import UploadRow
from deltareg.db.storage.shares import PackHolder, Share, add_shares
from deltareg.delta.delta_manifest import assess, build_delta_manifest
from deltareg.delta.kind import BaseView
from deltareg.delta.shapes import header_tensors
from deltareg.documents.json_values import is_object
from deltareg.documents.model_card import ModelCard
from deltareg.errors import Conflict, DeltaregError, InvalidInput, Problem, Refused, StaleRevision
from deltareg.identity.base_claims import read_claims
from deltareg.identity.manifest import Manifest
from deltareg.identity.pack_spans import cold_bytes
from deltareg.identity.storage_map import StorageMap
from deltareg.refs import LineRef, Ref
from deltareg.service.access.founding import require_push
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import SOMEWHERE
from deltareg.service.base_parts import with_identity
from deltareg.service.bases.stacks import find_ground
from deltareg.service.bases.variants import packed_base
from deltareg.service.describe import describe_version, line_of, ref_of
from deltareg.service.digest_cache import view_of_base
from deltareg.service.events import Action
from deltareg.service.lines.alike import WeightMarks, find_alike, keep_weights, marks_of
from deltareg.service.lines.cards import card_bytes_in, card_in, keep_card
from deltareg.service.lines.details import add_details
from deltareg.service.push.bound_base import base_of_upload, check_base_claims, check_same_base
from deltareg.service.push.forms import drop_pushed, take_form
from deltareg.service.push.line import lock_pushed
from deltareg.service.push.parents import check_merged, named_parents
from deltareg.service.push.receive import give_up_when_over
from deltareg.service.push.received import adopt_packs, pack_keys, read_back
from deltareg.service.push.shares import measure
from deltareg.service.push.subject import subject_of
from deltareg.service.push.uploads import (
    abort_upload,
    check_open,
    find_own_upload,
    is_of_run,
    is_wanted_again,
    manifest_of,
    show_upload,
    target_of,
)
from deltareg.service.quotas.holding import near_notes, within_quotas
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_variant
from deltareg.service.runs.kinds.prove import queue_proof
from deltareg.service.runs.kinds.reencode import misses_its_base, queue_reencode
from deltareg.service.runs.kinds.verify import queue_default_suite, queue_of_push
from deltareg.wire import UploadComplete, UploadInfo

_AGAIN = "run the same push again; what is stored already is not sent twice"


def complete_upload(
    registry: Registry, caller: Caller, upload_id: str, request: UploadComplete, *, new_id: Callable[[], UUID] = uuid4
) -> UploadInfo:
    """Turn an upload into a version; doing it again returns the same version.

    Raises:
        Refused: The upload is not what the manifest claims, or its kind refuses it; nothing is
            kept.
        UploadClosed: The upload was aborted, or a pack that it relied on is gone: push again.
        OverQuota: There would be more than a quota allows; nothing is kept.
        StaleRevision: The newest version of the line is another than `if_newest`; nothing is kept.
    """
    caller.require(Right.PUSH, on=SOMEWHERE)
    with read(registry.engine) as conn:
        upload = find_own_upload(conn, caller, upload_id, lock=False)
        require_push(conn, caller, on=target_of(upload))
    if upload.state == "complete":
        return show_upload(registry, caller, upload_id)
    if upload.subject != "delta" or is_of_run(upload):
        raise InvalidInput("this upload is of a base, or of a run")
    check_open(upload)
    manifest, raw_map = manifest_of(upload), request.storage_map.encode()
    try:
        storage = StorageMap.decode(raw_map)
        base, card, base_claim = _check_claim(registry, caller, upload, manifest, storage)
    except DeltaregError as error:
        if not error.retryable:
            abort_upload(registry, caller, upload_id)
        raise
    again = misses_its_base(manifest, storage, base)
    stored = _Stored(
        manifest,
        storage,
        pack_documents(present(upload.manifest), raw_map),
        measure(manifest, storage),
        cold_bytes(manifest, storage),
        reencode_run=new_id() if again else None,
        card=card,
        base_claim=base_claim,
        weights=marks_of(manifest, base),
    )

    def transaction(conn: sa.Connection) -> UploadInfo:
        # Whoever pushes or deletes locks the upload, the line, what is used and the packs in this order.
        locked = find_own_upload(conn, caller, upload_id, lock=True)
        line = LineRef.parse(locked.target)
        delta_queries.delta_row(conn, line.namespace, line.name, lock=True)
        with within_quotas(conn, locked.scope, caller.principal_id) as accounts:
            info = _commit(conn, caller, locked, stored, if_newest=request.if_newest)
        return info.model_copy(update={"notes": near_notes(conn, accounts)})

    try:
        with give_up_when_over(upload_id, registry, caller):
            info = with_retry(registry.engine, transaction)
    except StaleRevision:  # what is pushed instead has another manifest
        abort_upload(registry, caller, upload_id)
        raise
    return _with_alike(registry, caller, info, manifest, base)


@dataclass(frozen=True, slots=True)
class _Stored:
    """How a version is stored: all that can be computed before the transaction.

    Attributes:
        manifest: The manifest.
        storage: The storage map.
        packed: Manifest and map, as the row stores them.
        shares: Its share of each of its packs.
        cold_bytes: What a machine that has only the base fetches of it.
        reencode_run: The id of a run that re-encodes it against the base; None if none is needed.
        card: The card from its README.md; None without one.
        base_claim: What its files say of its base, where the publisher insists on another; mostly empty.
        weights: By what versions with the same weights are found.
    """

    manifest: Manifest
    storage: StorageMap
    packed: PackedDocuments
    shares: Mapping[str, Share]
    cold_bytes: int
    reencode_run: UUID | None
    card: ModelCard | None
    base_claim: str
    weights: WeightMarks


def _check_claim(
    registry: Registry, caller: Caller, upload: UploadRow, manifest: Manifest, storage: StorageMap
) -> tuple[BaseView, ModelCard | None, str]:
    """Check an upload against the manifest that it claims; return its base, its card and `base_claim`."""
    with read(registry.engine) as conn:
        row = base_of_upload(conn, caller, upload, manifest)
        base = view_of_base(row.manifest_digest, lambda: base_queries.base_content(conn, row.id).manifest)
        keys = pack_keys(conn, upload, storage)
    storage.check_covers(manifest, (record.digest for record in base.tensors.values()))
    files, card, raw_card = read_back(
        registry,
        caller,
        upload,
        keys,
        storage,
        look=lambda stored: (stored.delta_files(manifest), card_in(stored, manifest), card_bytes_in(stored, manifest)),
    )
    with read(registry.engine) as conn:
        claims = read_claims(files.documents, raw_card, (header.metadata for header in files.headers.values()))
        base_claim = check_base_claims(conn, caller, claims, row, insisted=upload.request.get("base_claim"))
    assessment = assess(files, header_tensors(files), base)
    expected = build_delta_manifest(
        assessment,
        delta=files,
        files=manifest.files,
        digests={(t.file, t.name): t.digest for t in manifest.tensors},
        base=base,
        parents=manifest.parents,
    )
    # What was sent is nearly always spelled as we spell it; else unknown fields may stand in it, which stay.
    encoded = expected.encode()
    if encoded != present(upload.manifest) and encoded != manifest.encode():
        raise Refused(
            [
                Problem(
                    "kind_mismatch",
                    "the manifest does not follow from the files that came with it",
                    fix="push with a client of the server's version: deltareg version",
                )
            ]
        )
    return base, card, base_claim


def _base_meant(conn: sa.Connection, caller: Caller, upload: UploadRow, manifest: Manifest) -> BaseRow:
    """Return the base that a push is bound to, after checking that it may still be used.

    Raises:
        Blocked: The base is a version, and that or what it stands on is revoked.
    """
    row = with_identity(conn, base_of_upload(conn, caller, upload, manifest))
    if row.version_id is not None:
        find_ground(conn, caller, row.name)
    if row.scheme is not None:  # it became one meanwhile
        raise Refused([packed_base(row)])
    return row


def _commit(
    conn: sa.Connection, caller: Caller, upload: UploadRow, stored: _Stored, *, if_newest: int | None
) -> UploadInfo:
    """Make a version of an upload that is locked."""
    if upload.state == "complete":  # by another request of the same push, meanwhile
        row = version_queries.version_by_id(conn, present(upload.version_id))
        return _answer(conn, upload, row, created=False)
    check_open(upload)
    delta = lock_pushed(conn, caller, LineRef.parse(upload.target))
    existing = version_queries.find_version(conn, delta.id, digest=upload.manifest_digest)
    if existing is not None:
        check_same_base(conn, existing, base_of_upload(conn, caller, upload, stored.manifest))
        _take_again(conn, caller, upload, existing, stored)
        queries.close_upload(conn, upload.id, state="complete", version_id=existing.id)
        existing = _say_again(conn, caller, upload, version_queries.version_by_id(conn, existing.id))
        return _answer(conn, upload, existing, created=False)
    _check_newest(conn, delta, upload.target, if_newest)
    pack_ids = adopt_packs(conn, caller, upload, stored.storage)
    version_id = _add_version(conn, caller, upload, delta, stored)
    pack_queries.reference_version(conn, version_id, sorted(pack_ids.values()))
    add_shares(conn, version_id, stored.shares, pack_ids)
    queue_proof(conn, PackHolder(version_id), created_by=caller.principal_id)
    queries.close_upload(conn, upload.id, state="complete", version_id=version_id)
    row = version_queries.version_by_id(conn, version_id)
    keep_card(conn, row, stored.card)
    keep_weights(conn, version_id, stored.weights)
    queue_of_push(conn, caller, row)
    if stored.reencode_run is not None:
        run_id = str(stored.reencode_run)
        queue_reencode(conn, caller, row, against="smallest", run_id=run_id)
    info = _answer(conn, upload, row, created=True)
    after = {"digest": row.manifest_digest, "kind": row.kind, "base": row.base_root}
    after |= {"base_claim": row.base_claim} if row.base_claim else {}
    subject = f"{row.namespace}/{row.line}:v{row.number}"
    caller.record(conn, Action.VERSION_PUSH, subject, on=line_of(row), before=None, after=after)
    return info


def _check_newest(conn: sa.Connection, delta: LineRow, line: str, wanted: int | None) -> None:
    """Check that the newest version of a locked line has a number, where that is asked for.

    Raises:
        StaleRevision: It has another one.
    """
    if wanted is None:
        return
    newest = version_queries.find_version(conn, delta.id)
    number = 0 if newest is None else newest.number
    if number != wanted:
        raise StaleRevision(
            f"the newest version of {line} is v{number}, not v{wanted}", fix="look again, and push again"
        )


def _say_again(conn: sa.Connection, caller: Caller, upload: UploadRow, known: VersionRow) -> VersionRow:
    """Give an existing version what the push says of it, as one that sent no bytes does."""
    said = upload.request
    semver, labels = said["semver"], said["labels"]
    return add_details(
        conn,
        caller,
        known,
        semver=None if semver is None else str(semver),
        message=str(said["message"]),
        labels={key: str(value) for key, value in labels.items()} if is_object(labels) else {},
    )


def _take_again(conn: sa.Connection, caller: Caller, upload: UploadRow, known: VersionRow, stored: _Stored) -> None:
    """Replace the bytes of an existing version by those of an upload, where they are wanted."""
    version_queries.lock_version(conn, known.id)
    known = version_queries.version_by_id(conn, known.id)
    if not is_wanted_again(known, caller) or known.deleted_at is not None:
        return
    is_healing = known.corrupt_at is not None
    pack_ids = adopt_packs(conn, caller, upload, stored.storage, of=PackHolder(known.id), is_replacing=is_healing)
    size = stored.storage.stored_bytes(stored.manifest.pieces())
    drop_pushed(conn, known.id, sent_by=caller.principal_id)
    if is_healing:
        version_queries.restore_manifest(conn, known.id, stored.packed.manifest)
    form = forms.add_form(
        conn,
        known.id,
        pack_ids.values(),
        why="push",
        storage_map=stored.packed.storage_map,
        stored_bytes=size,
        sent_by=caller.principal_id,
        state="proposed",
    )
    if not is_healing:
        return
    subject = subject_of(conn, PackHolder(known.id))
    take_form(conn, present(forms.form_by_id(conn, form)))
    queue_proof(conn, PackHolder(known.id), created_by=caller.principal_id)
    queue_default_suite(conn, caller, known)
    if stored.reencode_run is not None:
        run_id = str(stored.reencode_run)
        queue_reencode(conn, caller, known, against="smallest", run_id=run_id)
    caller.record(
        conn,
        subject.healed,
        subject.name,
        on=subject.on,
        before={"proof": "corrupt"},
        after={"proof": "claimed", "sent_by": caller.principal},
    )


def _add_version(conn: sa.Connection, caller: Caller, upload: UploadRow, delta: LineRow, stored: _Stored) -> int:
    manifest = stored.manifest
    base = _base_meant(conn, caller, upload, manifest)
    line = LineRef.parse(upload.target)
    parents = named_parents(conn, line, manifest, upload.request.get("parents", ()))
    semver_text = upload.request["semver"]
    semver = None if semver_text is None else str(semver_text)
    if semver and version_queries.find_version(conn, delta.id, semver=semver) is not None:
        raise Conflict(f"{line}:{semver} exists", fix="choose another --semver")
    version_id = version_queries.add_version(
        conn,
        stored.packed,
        delta_id=delta.id,
        number=delta_queries.take_number(conn, delta.id),
        manifest_digest=upload.manifest_digest,
        kind=manifest.kind,
        variant=manifest.variant,
        foldable=manifest.foldable,
        base_root=str(manifest.base),
        base_id=base.id,
        message=upload.request["message"],
        semver=semver,
        labels=upload.request["labels"],
        base_claim=stored.base_claim or None,
        logical_bytes=manifest.logical_bytes,
        stored_bytes=stored.storage.stored_bytes(manifest.pieces()),
        cold_bytes=stored.cold_bytes,
        uploaded_bytes=queries.uploaded_bytes(conn, upload.id),
        created_by=caller.principal_id,
    )
    if not base_queries.base_rows(conn, base_id=base.id, limit=1):
        raise Conflict(f"the base {base.name} was deleted meanwhile", fix="name another base")
    trained_on = str(upload.request.get("trained_on", ""))
    if trained_on:
        variant = find_variant(conn, caller, trained_on, base_id=base.id)
        variant_queries.record_training(conn, version_id, base_id=variant.id)
    below = [] if base.version_id is None else [base.version_id]
    standing = pack_queries.lock_versions(conn, [*(row.id for row in parents), *below])
    if not standing >= set(below):
        raise Conflict(f"the base {base.name} was deleted meanwhile", fix="name another base")
    deleted = [ref_of(row) for row in parents if row.id not in standing]
    if deleted:
        raise Conflict(f"the parent {deleted[0]} was deleted meanwhile", fix="leave --parent out")
    check_merged(conn, manifest, parents)
    version_queries.add_parents(conn, version_id, [row.id for row in parents])
    return version_id


def _with_alike(registry: Registry, caller: Caller, info: UploadInfo, manifest: Manifest, base: BaseView) -> UploadInfo:
    """Add to the answer of a push which other versions have the same weights."""
    version = info.version
    if version is None or not version.created:
        return info
    alike = find_alike(registry, caller, Ref.parse(version.ref), manifest, base)
    return info.model_copy(update={"version": version.model_copy(update={"alike": alike})})


def _answer(conn: sa.Connection, upload: UploadRow, row: VersionRow, *, created: bool) -> UploadInfo:
    version = describe_version(conn, row, created=created)
    return UploadInfo(id=upload.id, state="complete", manifest_digest=upload.manifest_digest, version=version)
