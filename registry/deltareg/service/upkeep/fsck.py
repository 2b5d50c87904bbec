"""Fsck: compare the store with the database, and the database with itself; change nothing.

Every pack row must have its object in the right size, every object a row, every manifest its
digest, and every storage map must be readable. With `read_data`, every object is read and hashed.
An object without a row is reported and never deleted: after a database was restored from a backup,
it may be the only copy of something.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import sqlalchemy as sa

from deltareg.db.lines.version_rows import DocumentsRow
from deltareg.db.session import read
from deltareg.db.sql.document import StoredDocuments, unpack_document
from deltareg.db.storage.rows import PackRow
from deltareg.db.upkeep import fsck as queries
from deltareg.db.upkeep.damage import bad_why
from deltareg.digest import sha256_of, sha256_over
from deltareg.errors import BlobMissing, IntegrityFailure
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.registry import Caller, Registry
from deltareg.service.upkeep.counts import KIND, wrong_counts
from deltareg.service.upkeep.pages import page_rows
from deltareg.service.upkeep.repair import repair, still_corrupt, unreferenced_packs
from deltareg.store import BlobStore
from deltareg.wire import FsckFinding, FsckReport

FindingKind = Literal["missing", "size", "data", "bad", "orphan", "manifest", "map", "reference", "marked", "count"]
_BATCH = 200


@dataclass(frozen=True, slots=True)
class IntegrityFinding:
    """One problem that fsck found.

    Attributes:
        kind: `missing` object, wrong `size`, `data` that does not hash to the digest, a pack that
            is known to be `bad`, `orphan` object without a row, `manifest` bytes that do not hash
            to theirs, a storage `map` that cannot be read, a `reference` to a pack that has no row,
            a pack that is `marked` for deletion although something needs it, or a `count` behind
            quotas that is not what there is.
        subject: The pack, object or version concerned.
        detail: The problem, and what it means.
    """

    kind: FindingKind
    subject: str
    detail: str


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
    findings: tuple[IntegrityFinding, ...]


def run_fsck(registry: Registry, caller: Caller, *, read_data: bool, repairs: bool = False) -> FsckReport:
    """Check everything and report; `read_data` reads every stored byte.

    With `repairs`, heal what can be healed, mark the rest, and name all that has to be pushed
    again.
    """
    caller.require(Right.ADMIN, on=EVERYTHING)
    if repairs:
        mended = repair(registry, caller, reads=read_data)
        orphans = [
            FsckFinding(kind=f.kind, subject=f.subject, detail=f.detail)
            for f in _check_objects(registry.engine, registry.store)
        ]
        return FsckReport(
            packs=mended.packs,
            bytes=mended.size_bytes,
            read_data=read_data,
            findings=[*mended.findings, *orphans],
            repaired=True,
            to_push=still_corrupt(registry.engine),
        )
    checked = check(registry.engine, registry.store, read_data=read_data)
    return FsckReport(
        packs=checked.packs,
        bytes=checked.size_bytes,
        read_data=read_data,
        findings=[FsckFinding(kind=f.kind, subject=f.subject, detail=f.detail) for f in checked.findings],
    )


def check(engine: sa.Engine, store: BlobStore, *, read_data: bool) -> FsckOutcome:
    """Check everything; pushes and collections may continue meanwhile.

    Raises:
        StoreUnavailable: The store does not answer.
        Unavailable: The database does not answer.
    """
    packs = size = 0
    findings: list[IntegrityFinding] = []
    for row in page_rows(engine, queries.live_packs):
        packs, size = packs + 1, size + row.size_bytes
        finding = _check_pack(engine, store, row, read_data=read_data)
        findings += [] if finding is None else [finding]
    findings += _check_objects(engine, store)
    findings += _check_documents(engine)
    findings += [IntegrityFinding(KIND, wrong.holder, wrong.detail) for wrong in wrong_counts(engine)]
    findings += [
        IntegrityFinding("reference", name, f"nothing says that it needs the pack {digest}")
        for _, name, digest in unreferenced_packs(engine)
    ]
    with read(engine) as conn:
        marked = queries.needed_but_marked(conn)
    findings += [
        IntegrityFinding("marked", _name(row), "it is marked for deletion although something needs it")
        for row in marked
    ]
    return FsckOutcome(packs, size, tuple(findings))


def _check_pack(engine: sa.Engine, store: BlobStore, row: PackRow, *, read_data: bool) -> IntegrityFinding | None:
    size = store.size(row.physical_key)
    finding = None
    if size is None:
        finding = IntegrityFinding("missing", _name(row), f"the store has no object {row.physical_key}")
    elif size != row.size_bytes:
        detail = f"{row.physical_key} has {size} bytes instead of {row.size_bytes}"
        finding = IntegrityFinding("size", _name(row), detail)
    elif read_data:
        finding = _check_data(store, row)
    finding = finding or _report_known(engine, row)
    if finding is None or not _stands(engine, row):
        return None
    return finding


def _report_known(engine: sa.Engine, row: PackRow) -> IntegrityFinding | None:
    """Report a pack that is known to be damaged, although its data was not read now."""
    with read(engine) as conn:
        why = bad_why(conn, row.id)
    return None if why is None else IntegrityFinding("bad", _name(row), why)


def _check_data(store: BlobStore, row: PackRow) -> IntegrityFinding | None:
    try:
        digest = str(sha256_over(store.read(row.physical_key)))
    except (BlobMissing, IntegrityFailure) as error:
        return IntegrityFinding("data", _name(row), error.message)
    if digest == row.digest:
        return None
    return IntegrityFinding("data", _name(row), f"{row.physical_key} holds {digest}")


def _stands(engine: sa.Engine, row: PackRow) -> bool:
    """Whether a pack is still live under the key that was checked; otherwise it was collected."""
    with read(engine) as conn:
        return queries.is_live(conn, row.id, physical_key=row.physical_key)


def _check_objects(engine: sa.Engine, store: BlobStore) -> Iterator[IntegrityFinding]:
    for part in _batch_keys(store.keys("blobs/")):
        with read(engine) as conn:
            known_keys = queries.known_keys(conn, [key for key, _ in part])
        for key, size in part:
            # A key is registered before its first byte, so an object without a row has lost it,
            # or both went while this was looking.
            if key not in known_keys and store.size(key) is not None:
                yield IntegrityFinding("orphan", key, f"no row knows this object of {size} bytes")


def _check_documents(engine: sa.Engine) -> Iterator[IntegrityFinding]:
    for query in (queries.version_documents, queries.base_documents):
        for row in page_rows(engine, query):
            finding = _check_row(row)
            if finding is not None:
                yield finding


def _check_row(row: DocumentsRow) -> IntegrityFinding | None:
    try:
        manifest = unpack_document(row.manifest)
    except IntegrityFailure as error:
        return IntegrityFinding("manifest", row.subject, error.message)
    digest = str(sha256_of(manifest))
    if digest != row.manifest_digest:
        detail = f"the manifest in the database hashes to {digest}"
        return IntegrityFinding("manifest", row.subject, detail)
    try:
        _ = StoredDocuments(manifest, row.storage_map).storage_map
    except IntegrityFailure as error:
        return IntegrityFinding("map", row.subject, error.message)
    return None


def _batch_keys(keys: Iterator[tuple[str, int]]) -> Iterator[Sequence[tuple[str, int]]]:
    while part := list(islice(keys, _BATCH)):
        yield part


def _name(row: PackRow) -> str:
    return f"{row.scope} {row.digest}"
