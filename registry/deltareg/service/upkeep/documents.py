"""The documents of versions and bases, page by page: manifests, storage maps, the packs that these name."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.session import read
from deltareg.db.sql.document import unpack_document, unpack_map
from deltareg.db.storage.shares import PackHolder
from deltareg.db.upkeep import fsck as queries
from deltareg.db.upkeep.rows import CheckedDocumentsRow
from deltareg.digest import sha256_of
from deltareg.errors import IntegrityFailure, InvalidInput
from deltareg.service.upkeep.walk import read_row_id

_FIRST, _MOST = 50, 1_000
_PAGE_BYTES = 8 << 20  # as rows store them
_BASES, _VERSIONS = "b", "v"


@dataclass(frozen=True, slots=True)
class DocumentsPage:
    """Rows with documents; `place` is where the next page begins, None after the last one."""

    rows: Sequence[tuple[PackHolder, CheckedDocumentsRow]]
    place: str | None


def document_pages(engine: sa.Engine, place: str) -> Iterator[DocumentsPage]:
    """Yield the documents of all bases and then of all versions, a bounded number of bytes at a time.

    Raises:
        InvalidInput: The place is none of a page.
    """
    kind, after = place[:1] or _BASES, read_row_id(place[1:])
    if kind not in {_BASES, _VERSIONS}:
        raise InvalidInput("not a cursor of this server", fix="start again without it")
    queried = [(_BASES, queries.base_documents), (_VERSIONS, queries.version_documents)]
    for each, query in queried if kind == _BASES else queried[1:]:
        yield from _pages(engine, each, query, after if each == kind else 0)


def readable_manifest(row: CheckedDocumentsRow) -> bytes:
    """Read the manifest of a row.

    Raises:
        IntegrityFailure: It is damaged, or does not have its digest.
    """
    manifest = unpack_document(row.manifest)
    digest = str(sha256_of(manifest))
    if digest != row.manifest_digest:
        raise IntegrityFailure(f"the manifest in the database hashes to {digest}")
    return manifest


def readable_map(row: CheckedDocumentsRow, manifest: bytes) -> bytes:
    """Read the storage map of a row; empty if it has none.

    Raises:
        IntegrityFailure: It is damaged, or belongs to another manifest.
    """
    return b"" if row.storage_map is None else unpack_map(row.storage_map, manifest)


def unreferenced_packs(
    engine: sa.Engine, maps: Mapping[PackHolder, tuple[str, bytes]]
) -> Iterator[tuple[PackHolder, str, str]]:
    """Yield packs that storage maps name but no row references: the holder, its name, the digest.

    Args:
        engine: The database.
        maps: By holder, its name and its storage map.
    """
    named = [(held, name, digest) for held, (name, raw) in maps.items() for digest in sorted(_packs_named(raw))]
    if not named:
        return
    with read(engine) as conn:
        needed = queries.needed_digests(conn, list(maps))
    yield from (each for each in named if (each[0], each[2]) not in needed)


def _pages(
    engine: sa.Engine, kind: str, query: Callable[..., Sequence[CheckedDocumentsRow]], after: int
) -> Iterator[DocumentsPage]:
    limit = _FIRST
    while True:
        with read(engine) as conn:
            rows = query(conn, after=after, limit=limit)
        if not rows:
            return
        after = rows[-1].id
        yield DocumentsPage([(PackHolder(row.id, is_base=kind == _BASES), row) for row in rows], f"{kind}{after}")
        size = sum(len(row.manifest) + len(row.storage_map or b"") for row in rows)
        limit = max(1, min(_MOST, _PAGE_BYTES * len(rows) // max(1, size)))


def _packs_named(raw: bytes) -> set[str]:
    """Return the packs that a map names; none of a map that is none, which is told of by itself."""
    try:
        return {digest for digest, _ in json.loads(raw)["packs"]} if raw else set()
    except (ValueError, LookupError, TypeError, RecursionError):
        return set()
