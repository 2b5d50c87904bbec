"""Fsck: compare the store with the database, and the database with itself; change nothing.

Every pack row must have its object in the right size, every object a row, every manifest its
digest, and every storage map must be readable. With `read_data`, every object is read and hashed.
An object without a row is reported and never deleted: after a database was restored from a backup,
it may be the only copy of something.

Whoever asks for parts gets one that ends after some seconds, with a cursor to continue from.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import sqlalchemy as sa

from deltareg.db.session import read
from deltareg.db.storage.rows import PackRow
from deltareg.db.storage.shares import PackHolder
from deltareg.db.upkeep import fsck as queries
from deltareg.db.upkeep.rows import StoredPackRow
from deltareg.digest import sha256_over
from deltareg.errors import BlobMissing, IntegrityFailure
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.registry import Caller, Registry
from deltareg.service.upkeep.counts import KIND, wrong_counts
from deltareg.service.upkeep.documents import document_pages, readable_manifest, readable_map, unreferenced_packs
from deltareg.service.upkeep.objects import (
    ShareOfObjects,
    check_digits,
    differing,
    first_digits,
    share_of_objects,
    still_live,
)
from deltareg.service.upkeep.repair import repair_stages, still_corrupt
from deltareg.service.upkeep.walk import Stage, WalkPart, WalkStep, walk
from deltareg.store import BlobStore
from deltareg.wire import FsckFinding, FsckReport

PART_S: Final = 5.0
"""How long a part takes, about."""
FindingKind = Literal["missing", "size", "data", "bad", "orphan", "manifest", "map", "reference", "marked", "count"]


@dataclass(frozen=True, slots=True)
class FsckOutcome:
    """What fsck checked and found.

    Attributes:
        packs: Live packs.
        size_bytes: Their bytes, according to the database.
        findings: What is wrong; empty when all is well.
    """

    packs: int
    size_bytes: int
    findings: tuple[FsckFinding, ...]


def run_fsck(
    registry: Registry,
    caller: Caller,
    *,
    read_data: bool,
    repairs: bool = False,
    after: str | None = None,
    seconds: float = PART_S,
) -> FsckReport:
    """Check everything and report; `read_data` reads every stored byte.

    With `repairs`, heal what can be healed, mark the rest, and name all that has to be pushed
    again.

    Args:
        registry: The database and the store.
        caller: Who asks.
        read_data: Whether to read and hash every object.
        repairs: Whether to repair.
        after: None for everything at once; otherwise a part of it is checked: from where an earlier
            one ended, or the first if it is empty.
        seconds: How long a part takes, about.

    Raises:
        InvalidInput: `after` is not from here.
    """
    caller.require(Right.ADMIN, on=EVERYTHING)
    checked = _stages(registry.engine, registry.store, read_data=read_data)
    stages = {**repair_stages(registry, caller, reads=read_data), **_orphans(checked)} if repairs else checked
    part = walk(stages, cursor=after, seconds=None if after is None else seconds)
    return FsckReport(
        packs=part.packs,
        bytes=part.size_bytes,
        read_data=read_data,
        findings=part.findings,
        repaired=repairs,
        to_push=still_corrupt(registry.engine) if repairs and part.cursor is None else [],
        after=part.cursor,
    )


def check(engine: sa.Engine, store: BlobStore, *, read_data: bool) -> FsckOutcome:
    """Check everything; pushes and collections may continue meanwhile.

    Raises:
        StoreUnavailable: The store does not answer.
        Unavailable: The database does not answer.
    """
    part = walk(_stages(engine, store, read_data=read_data), cursor=None, seconds=None)
    return FsckOutcome(part.packs, part.size_bytes, tuple(part.findings))


def check_part(engine: sa.Engine, store: BlobStore, *, read_data: bool, after: str, seconds: float) -> WalkPart:
    """Check for some seconds, from where an earlier part ended; an empty `after` is the beginning."""
    return walk(_stages(engine, store, read_data=read_data), cursor=after, seconds=seconds)


def _stages(engine: sa.Engine, store: BlobStore, *, read_data: bool) -> Mapping[str, Stage]:
    return {
        "objects": partial(_check_objects, engine, store, read_data),
        "documents": partial(_check_documents, engine),
        "counts": partial(_check_counts, engine),
        "marked": partial(_check_marked, engine),
    }


def _orphans(stages: Mapping[str, Stage]) -> Mapping[str, Stage]:
    """Look for objects that no row knows, behind a repair, which brings back rows for some."""

    def look(place: str) -> Iterator[WalkStep]:
        for step in stages["objects"](place):
            yield WalkStep(step.place, [one for one in step.findings if one.kind == "orphan"])

    return {"orphans": look}


def _check_objects(engine: sa.Engine, store: BlobStore, read_data: bool, place: str) -> Iterator[WalkStep]:  # noqa: FBT001
    """Yield a step for each share of the keys, or where data is read, for each pack as well."""
    digits, _, last = place.partition("/")
    digits = check_digits(digits) if place else first_digits(engine)
    while True:
        share = share_of_objects(engine, store, digits)
        if not last:
            place_after = f"{digits}/0" if read_data else share.next_digits
            yield _looked_up(engine, store, share, place_after, tells_bad=not read_data)
        if read_data:
            for row in share.live:
                if row.physical_key > last and _has_its_size(store, share, row):
                    yield WalkStep(f"{digits}/{row.physical_key}", _read_pack(engine, store, row))
        if share.next_digits is None:
            return
        digits, last = share.next_digits, ""


def _looked_up(
    engine: sa.Engine, store: BlobStore, share: ShareOfObjects, place: str | None, *, tells_bad: bool
) -> WalkStep:
    """Report on a share without reading any data; packs that are known to be bad only if data is not read after it."""
    findings: list[FsckFinding] = []
    told: set[int] = set()
    for row, size in differing(engine, store, share):
        told.add(row.id)
        detail = f"{row.physical_key} has {size} bytes instead of {row.size_bytes}"
        if size is None:
            detail = f"the store has no object {row.physical_key}"
        findings.append(_finding("missing" if size is None else "size", _name(row.pack), detail))
    bad = [row for row in share.live if tells_bad and row.bad_why is not None and row.id not in told]
    live = still_live(engine, bad)
    findings += [_finding("bad", _name(row.pack), row.bad_why or "") for row in bad if row.id in live]
    findings += [_finding("orphan", key, f"no row knows this object of {size} bytes") for key, size in share.orphans]
    return WalkStep(place, findings, len(share.live), sum(row.size_bytes for row in share.live))


def _has_its_size(store: BlobStore, share: ShareOfObjects, row: StoredPackRow) -> bool:
    size = share.sizes.get(row.physical_key)
    return (store.size(row.physical_key) if size is None else size) == row.size_bytes


def _read_pack(engine: sa.Engine, store: BlobStore, row: StoredPackRow) -> list[FsckFinding]:
    """Read a pack's object; one that is known to be damaged is reported in any case."""
    try:
        digest = str(sha256_over(store.read(row.physical_key)))
        finding = None if digest == row.digest else f"{row.physical_key} holds {digest}"
    except (BlobMissing, IntegrityFailure) as error:
        finding = error.message
    kind: FindingKind = "bad" if finding is None else "data"
    why = row.bad_why if finding is None else finding
    if why is None or not still_live(engine, [row]):
        return []
    return [_finding(kind, _name(row.pack), why)]


def _check_documents(engine: sa.Engine, place: str) -> Iterator[WalkStep]:
    for page in document_pages(engine, place):
        findings: list[FsckFinding] = []
        maps: dict[PackHolder, tuple[str, bytes]] = {}
        for held, row in page.rows:
            kind: FindingKind = "manifest"
            try:
                manifest, kind = readable_manifest(row), "map"
                raw = readable_map(row, manifest)
            except IntegrityFailure as error:
                findings.append(_finding(kind, row.subject, error.message))
                continue
            if row.has_bytes:
                maps[held] = (row.subject, raw)
        findings += [
            _finding("reference", name, f"nothing says that it needs the pack {digest}")
            for _, name, digest in unreferenced_packs(engine, maps)
        ]
        yield WalkStep(page.place, findings)


def _check_counts(engine: sa.Engine, _place: str) -> Iterator[WalkStep]:
    yield WalkStep(None, [_finding(KIND, wrong.holder, wrong.detail) for wrong in wrong_counts(engine)])


def _check_marked(engine: sa.Engine, _place: str) -> Iterator[WalkStep]:
    with read(engine) as conn:
        marked = queries.needed_but_marked(conn)
    detail = "it is marked for deletion although something needs it"
    yield WalkStep(None, [_finding("marked", _name(row), detail) for row in marked])


def _finding(kind: FindingKind, subject: str, detail: str) -> FsckFinding:
    """Report a problem.

    Args:
        kind: `missing` object, wrong `size`, `data` that does not hash to the digest, a pack that is
            known to be `bad`, `orphan` object without a row, `manifest` bytes that do not hash to
            theirs, a storage `map` that cannot be read, a `reference` to a pack that has no row, a
            pack that is `marked` for deletion although something needs it, or a `count` behind
            quotas that is not what there is.
        subject: The pack, object or version concerned.
        detail: The problem, and what it means.
    """
    return FsckFinding(kind=kind, subject=subject, detail=detail)


def _name(row: PackRow) -> str:
    return f"{row.scope} {row.digest}"
