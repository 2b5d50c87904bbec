"""Repair: heal what can be healed from what exists, and say who has to push what for the rest.

Documents come first, then the references of versions to packs, then the packs: each step relies on
the one before. Damaged packs are marked, so that the next push sends their bytes again and replaces
them.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import sqlalchemy as sa

from deltareg.db.access.principals import principal_name
from deltareg.db.bases import bases as base_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.session import read, with_retry
from deltareg.db.sql.document import pack_document, unpack_document
from deltareg.db.storage import packs as pack_queries
from deltareg.db.storage import proofs
from deltareg.db.storage.rows import PackRow, PieceEntryRow
from deltareg.db.storage.shares import PackHolder
from deltareg.db.upkeep import damage, fsck
from deltareg.db.upkeep.rows import CheckedDocumentsRow, StoredPackRow
from deltareg.digest import Digest, sha256_of
from deltareg.errors import DeltaregError, IntegrityFailure
from deltareg.identity.storage_map import Chain, StorageMap
from deltareg.service.corrupt import push_again
from deltareg.service.push.damage import DamagedHolder, hurt_by, mark_damaged, what_is_wrong
from deltareg.service.push.mending import bring_back, mend
from deltareg.service.push.subject import subject_of
from deltareg.service.registry import Caller, Registry
from deltareg.service.upkeep.counts import KIND, mend_counts
from deltareg.service.upkeep.documents import document_pages, readable_manifest, readable_map, unreferenced_packs
from deltareg.service.upkeep.objects import check_digits, first_digits, share_of_objects, still_live
from deltareg.service.upkeep.walk import Stage, WalkStep, read_row_id
from deltareg.wire import FsckFinding, FsckHeal

_BATCH = 1_000


def repair_stages(registry: Registry, by: Caller, *, reads: bool) -> Mapping[str, Stage]:
    """Return the stages that heal what can be healed, and mark and name the rest.

    Args:
        registry: The database and the store.
        by: Who asks.
        reads: Whether to read and hash every object; otherwise only those known to be bad.
    """
    return {
        "documents": partial(_documents, registry, by),
        "marked": partial(_unmark_needed, registry, by),
        "packs": partial(_packs, registry, by, reads),
        "pieces": partial(_pieces, registry),
        "counts": partial(_counts, registry),
    }


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


def _documents(registry: Registry, caller: Caller, place: str) -> Iterator[WalkStep]:
    """Heal the documents of a page, then the references to the packs that its maps name."""
    for page in document_pages(registry.engine, place):
        findings: list[FsckFinding] = []
        maps: dict[PackHolder, tuple[str, bytes]] = {}
        for held, row in page.rows:
            if not row.has_bytes:
                continue
            found, manifest = _manifest(registry, caller, held, row)
            findings += found
            if manifest is None:
                continue
            try:
                maps[held] = (row.subject, _map(row, manifest))
            except DeltaregError as error:
                hurt = _hurt(registry, caller, held, f"its storage map: {error.message}")
                findings.append(_finding("map", row.subject, error.message, [hurt]))
        findings += _references(registry, caller, maps)
        yield WalkStep(page.place, findings)


def _manifest(
    registry: Registry, caller: Caller, held: PackHolder, row: CheckedDocumentsRow
) -> tuple[list[FsckFinding], bytes | None]:
    """Read a manifest, or restore it; return what was wrong, and the manifest if there is one now."""
    try:
        return [], readable_manifest(row)
    except IntegrityFailure as error:
        restored = with_retry(registry.engine, partial(_restore, held=held, row=row))
        if restored is not None:
            healed = FsckFinding(kind="manifest", subject=row.subject, detail=error.message, outcome="healed")
            return [healed], restored
        hurt = _hurt(registry, caller, held, f"its manifest: {error.message}")
        return [_finding("manifest", row.subject, error.message, [hurt])], None


def _restore(conn: sa.Connection, held: PackHolder, row: CheckedDocumentsRow) -> bytes | None:
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


def _map(row: CheckedDocumentsRow, manifest: bytes) -> bytes:
    """Read the storage map of a row, if it is one.

    Raises:
        DeltaregError: It is damaged, or none.
    """
    raw = readable_map(row, manifest)
    if row.storage_map is not None:
        StorageMap.decode(raw)
    return raw


def _references(
    registry: Registry, caller: Caller, maps: Mapping[PackHolder, tuple[str, bytes]]
) -> Iterator[FsckFinding]:
    """Add the missing references of versions and bases to the packs that their maps name."""
    for held, name, digest in unreferenced_packs(registry.engine, maps):
        with read(registry.engine) as conn:
            scope = subject_of(conn, held).scope
        detail = f"nothing says that it needs the pack {digest}"
        if _refer(registry, caller, held, scope, digest):
            yield FsckFinding(kind="reference", subject=name, detail=detail, outcome="healed")
            continue
        hurt = _hurt(registry, caller, held, f"the pack {digest} is gone, with its row")
        yield _finding("reference", name, f"there is no pack {digest}", [hurt])


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


def _unmark_needed(registry: Registry, caller: Caller, _place: str) -> Iterator[WalkStep]:
    """Unmark packs that were to be deleted although something needs them."""
    with read(registry.engine) as conn:
        rows = fsck.needed_but_marked(conn)
    findings: list[FsckFinding] = []
    for row in rows:
        detail = "it is marked for deletion although something needs it"
        if mend(registry, caller, row):
            findings.append(FsckFinding(kind="marked", subject=_name(row), detail=detail, outcome="healed"))
        else:
            findings.append(_finding("marked", _name(row), detail, _mark(registry, caller, row, detail)))
    yield WalkStep(None, findings)


def _packs(registry: Registry, caller: Caller, reads: bool, place: str) -> Iterator[WalkStep]:  # noqa: FBT001
    """Mend the packs of each share of the keys: those that differ or are known to be bad, or all that are read."""
    digits, _, last = place.partition("/")
    digits = check_digits(digits) if place else first_digits(registry.engine)
    while True:
        share = share_of_objects(registry.engine, registry.store, digits)
        if not last:
            size = sum(row.size_bytes for row in share.live)
            yield WalkStep(f"{digits}/0", packs=len(share.live), size_bytes=size)
        for row in share.live:
            is_sound = share.sizes.get(row.physical_key) == row.size_bytes and row.bad_why is None
            if row.physical_key > last and (reads or not is_sound):
                yield WalkStep(f"{digits}/{row.physical_key}", _mend(registry, caller, row, reads=reads))
        if share.next_digits is None:
            return
        digits, last = share.next_digits, ""


def _mend(registry: Registry, caller: Caller, row: StoredPackRow, *, reads: bool) -> list[FsckFinding]:
    why = what_is_wrong(registry.store, row.pack, reads=reads or row.bad_why is not None)
    if not why and row.bad_why is None:
        return []
    if not still_live(registry.engine, [row]):
        return []  # collected or replaced meanwhile
    if mend(registry, caller, row.pack):
        detail = why or row.bad_why or ""
        return [FsckFinding(kind="data", subject=_name(row.pack), detail=detail, outcome="healed")]
    return [_finding("data", _name(row.pack), why, _mark(registry, caller, row.pack, why))]


def _mark(registry: Registry, caller: Caller, row: PackRow, why: str) -> list[DamagedHolder]:
    return with_retry(registry.engine, partial(mark_damaged, caller=caller, row=row, why=why))


def _hurt(registry: Registry, caller: Caller, held: PackHolder, why: str) -> DamagedHolder:
    return with_retry(registry.engine, partial(hurt_by, caller=caller, held=held, why=why))


def _pieces(registry: Registry, place: str) -> Iterator[WalkStep]:
    """Forget the places of pieces whose entries are unreadable or name packs that their rows lack."""
    after = read_row_id(place)
    while True:
        with read(registry.engine) as conn:
            rows = fsck.piece_entries(conn, after=after, limit=_BATCH)
        if not rows:
            return
        after = rows[-1].id
        wrong = [row for row in rows if not _is_readable(row)]
        if wrong:
            with_retry(registry.engine, partial(fsck.forget_entries, ids=[row.id for row in wrong]))
        detail = "where it is cannot be read"
        yield WalkStep(
            str(after),
            [FsckFinding(kind="piece", subject=row.digest, detail=detail, outcome="healed") for row in wrong],
        )


def _counts(registry: Registry, _place: str) -> Iterator[WalkStep]:
    """Put wrong counts right."""
    yield WalkStep(
        None,
        [
            FsckFinding(kind=KIND, subject=wrong.holder, detail=wrong.detail, outcome="healed")
            for wrong in mend_counts(registry.engine)
        ],
    )


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


def _name(row: PackRow) -> str:
    return f"{row.scope} {row.digest}"
