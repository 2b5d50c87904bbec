"""Repair: heal what can be healed from what exists, and say who has to push what for the rest.

Documents come first, then the references of versions to packs, then the packs: each step relies on
the one before. Damaged packs are marked, so that the next push sends their bytes again and replaces
them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

from deltareg.db.access.principals import principal_name
from deltareg.db.bases import bases as base_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import DocumentsRow
from deltareg.db.session import read, with_retry
from deltareg.db.sql.document import pack_document, unpack_document, unpack_map
from deltareg.db.storage import packs as pack_queries
from deltareg.db.storage import proofs
from deltareg.db.storage.rows import PackRow, PieceEntryRow
from deltareg.db.storage.shares import PackHolder
from deltareg.db.upkeep import damage, fsck
from deltareg.digest import Digest, sha256_of
from deltareg.errors import DeltaregError, IntegrityFailure
from deltareg.identity.storage_map import Chain, StorageMap
from deltareg.service.corrupt import push_again
from deltareg.service.push.damage import DamagedHolder, hurt_by, mark_damaged, what_is_wrong
from deltareg.service.push.mending import bring_back, mend
from deltareg.service.push.subject import subject_of
from deltareg.service.registry import Caller, Registry
from deltareg.service.upkeep.counts import KIND, mend_counts
from deltareg.service.upkeep.pages import page_rows
from deltareg.wire import FsckFinding, FsckHeal

_BATCH = 200


@dataclass(frozen=True, slots=True)
class RepairOutcome:
    """What a repair checked, found and did.

    Attributes:
        packs: How many packs were checked.
        size_bytes: Their bytes.
        findings: The problems, each with its outcome.
    """

    packs: int
    size_bytes: int
    findings: Sequence[FsckFinding]


def repair(registry: Registry, by: Caller, *, reads: bool) -> RepairOutcome:
    """Heal what can be healed; mark and name the rest.

    Args:
        registry: The database and the store.
        by: Who asks.
        reads: Whether to read and hash every object; otherwise only those known to be bad.
    """
    findings = list(_documents(registry, by))
    findings += _references(registry, by)
    findings += _unmark_needed(registry, by)
    packs = size = 0
    for row in page_rows(registry.engine, fsck.live_packs):
        packs, size = packs + 1, size + row.size_bytes
        finding = _pack(registry, by, row, reads=reads)
        findings += [] if finding is None else [finding]
    findings += _pieces(registry)
    findings += [
        FsckFinding(kind=KIND, subject=wrong.holder, detail=wrong.detail, outcome="healed")
        for wrong in mend_counts(registry.engine)
    ]
    return RepairOutcome(packs, size, findings)


def still_corrupt(engine: sa.Engine) -> list[FsckHeal]:
    """List what has to be pushed again, who pushed it, and the command for it.

    What others stand on comes before them, because it is needed when they are pushed.
    """
    with read(engine) as conn:
        holders = sorted(damage.corrupt_ones(conn), key=partial(_height, conn))
        return [_to_push(conn, held) for held in holders]


def _height(conn: sa.Connection, held: PackHolder) -> int:
    """Return how high something stands: bases, and above each what is pushed for it."""
    if held.is_base:
        base = base_queries.base_rows(conn, base_id=held.row_id, limit=1, also_deleted=True)[0]
        return 2 * (base.depth or 0)
    below = base_queries.base_of(conn, version_queries.version_by_id(conn, held.row_id))
    return 1 if below is None else 2 * (below.depth or 0) + 1


def _to_push(conn: sa.Connection, held: PackHolder) -> FsckHeal:
    standing = proofs.standing(conn, held)
    sender = principal_name(conn, standing.sender_id)
    return FsckHeal(subject=subject_of(conn, held).name, sent_by=sender, fix=push_again(conn, held))


def _documents(registry: Registry, caller: Caller) -> Iterator[FsckFinding]:
    for held, row in _holders(registry.engine):
        try:
            manifest = _manifest(row)
        except IntegrityFailure as error:
            restored = with_retry(registry.engine, partial(_restore, held=held, row=row))
            if restored is None:
                hurt = _hurt(registry, caller, held, f"its manifest: {error.message}")
                yield _finding("manifest", row.subject, error.message, [hurt])
                continue
            manifest = restored
            yield FsckFinding(kind="manifest", subject=row.subject, detail=error.message, outcome="healed")
        yield from _map(registry, caller, held, row, manifest)


def _manifest(row: DocumentsRow) -> bytes:
    """Read the manifest of a row.

    Raises:
        IntegrityFailure: The manifest does not have its digest.
    """
    manifest = unpack_document(row.manifest)
    if str(sha256_of(manifest)) != row.manifest_digest:
        raise IntegrityFailure(f"the manifest hashes to {sha256_of(manifest)}")
    return manifest


def _restore(conn: sa.Connection, held: PackHolder, row: DocumentsRow) -> bytes | None:
    """Restore a manifest from another row that has the same one."""
    for stored in fsck.manifests_of(conn, row.manifest_digest):
        try:
            manifest = unpack_document(stored)
        except IntegrityFailure:
            continue
        if str(sha256_of(manifest)) == row.manifest_digest:
            if held.is_base:
                base_queries.restore_manifest(conn, held.row_id, manifest)
            else:
                version_queries.restore_manifest(conn, held.row_id, pack_document(manifest))
            return manifest
    return None


def _map(
    registry: Registry, caller: Caller, held: PackHolder, row: DocumentsRow, manifest: bytes
) -> Iterator[FsckFinding]:
    if row.storage_map is None:
        return
    try:
        StorageMap.decode(unpack_map(row.storage_map, manifest))
    except DeltaregError as error:
        hurt = _hurt(registry, caller, held, f"its storage map: {error.message}")
        yield _finding("map", row.subject, error.message, [hurt])


def unreferenced_packs(engine: sa.Engine) -> Iterator[tuple[PackHolder, str, str]]:
    """Yield packs that a storage map names but no row references: the holder, its name, the digest."""
    for held, row in _holders(engine):
        digests = _packs_named(row)
        with read(engine) as conn:
            missing = sorted(digests - proofs.packs_of(conn, held).keys())
        yield from ((held, row.subject, digest) for digest in missing)


def _references(registry: Registry, caller: Caller) -> Iterator[FsckFinding]:
    """Add the missing references of versions and bases to the packs that their maps name."""
    for held, name, digest in unreferenced_packs(registry.engine):
        with read(registry.engine) as conn:
            scope = subject_of(conn, held).scope
        detail = f"nothing says that it needs the pack {digest}"
        if _refer(registry, caller, held, scope, digest):
            yield FsckFinding(kind="reference", subject=name, detail=detail, outcome="healed")
            continue
        hurt = _hurt(registry, caller, held, f"the pack {digest} is gone, with its row")
        yield _finding("reference", name, f"there is no pack {digest}", [hurt])


def _packs_named(row: DocumentsRow) -> set[str]:
    try:
        manifest = unpack_document(row.manifest)
        raw = b"" if row.storage_map is None else unpack_map(row.storage_map, manifest)
        return {str(pack.digest) for pack in StorageMap.decode(raw).packs} if raw else set()
    except DeltaregError:  # told of above
        return set()


def _refer(registry: Registry, caller: Caller, held: PackHolder, scope: str, digest: str) -> bool:
    with read(registry.engine) as conn:
        is_there = bool(damage.packs_by_digest(conn, scope, [digest]))
    if not is_there and not bring_back(registry, caller, scope, digest):
        return False

    def refer(conn: sa.Connection) -> bool:
        rows = damage.packs_by_digest(conn, scope, [digest])
        if not rows or not damage.keep(conn, rows[0].id):
            return False
        refer_to = pack_queries.reference_base if held.is_base else pack_queries.reference_version
        refer_to(conn, held.row_id, [rows[0].id])
        return True

    return with_retry(registry.engine, refer)


def _unmark_needed(registry: Registry, caller: Caller) -> Iterator[FsckFinding]:
    """Unmark packs that were to be deleted although something needs them."""
    with read(registry.engine) as conn:
        rows = fsck.needed_but_marked(conn)
    for row in rows:
        detail = "it is marked for deletion although something needs it"
        if mend(registry, caller, row):
            yield FsckFinding(kind="marked", subject=_name(row), detail=detail, outcome="healed")
        else:
            yield _finding("marked", _name(row), detail, _mark(registry, caller, row, detail))


def _pack(registry: Registry, caller: Caller, row: PackRow, *, reads: bool) -> FsckFinding | None:
    with read(registry.engine) as conn:
        bad_why = damage.bad_why(conn, row.id)
    why = what_is_wrong(registry.store, row, reads=reads or bad_why is not None)
    if not why and bad_why is None:
        return None
    with read(registry.engine) as conn:
        if not fsck.is_live(conn, row.id, physical_key=row.physical_key):
            return None  # collected or replaced meanwhile
    if mend(registry, caller, row):
        return FsckFinding(kind="data", subject=_name(row), detail=why or bad_why or "", outcome="healed")
    return _finding("data", _name(row), why, _mark(registry, caller, row, why))


def _mark(registry: Registry, caller: Caller, row: PackRow, why: str) -> list[DamagedHolder]:
    return with_retry(registry.engine, partial(mark_damaged, caller=caller, row=row, why=why))


def _hurt(registry: Registry, caller: Caller, held: PackHolder, why: str) -> DamagedHolder:
    return with_retry(registry.engine, partial(hurt_by, caller=caller, held=held, why=why))


def _pieces(registry: Registry) -> Iterator[FsckFinding]:
    """Forget the places of pieces whose entries are unreadable or name packs that their rows lack."""
    after = 0
    while True:
        with read(registry.engine) as conn:
            rows = fsck.piece_entries(conn, after=after, limit=_BATCH)
        if not rows:
            return
        wrong = [row for row in rows if not _is_readable(row)]
        for row in wrong:
            yield FsckFinding(kind="piece", subject=row.digest, detail="where it is cannot be read", outcome="healed")
        with_retry(registry.engine, partial(fsck.forget_entries, ids=[row.id for row in wrong]))
        after = rows[-1].id


def _is_readable(row: PieceEntryRow) -> bool:
    try:
        chain = Chain.decode(Digest.parse(row.digest), unpack_document(row.entry))
    except DeltaregError:
        return False
    return {str(pack) for pack in chain.packs} <= row.packs


def _finding(kind: str, subject: str, detail: str, hurt: Sequence[DamagedHolder]) -> FsckFinding:
    waiting = [one for one in hurt if not one.is_served]
    fixes = list(dict.fromkeys(one.fix for one in waiting))
    return FsckFinding(
        kind=kind, subject=subject, detail=detail, outcome="push" if waiting else "healed", fix="; ".join(fixes)
    )


def _holders(engine: sa.Engine) -> Iterator[tuple[PackHolder, DocumentsRow]]:
    """Yield all versions and bases that have their bytes, with their documents as stored."""
    yield from ((PackHolder(row.id), row) for row in page_rows(engine, fsck.held_documents))
    for row in page_rows(engine, fsck.held_base_documents):
        yield PackHolder(row.id, is_base=True), row


def _name(row: PackRow) -> str:
    return f"{row.scope} {row.digest}"
