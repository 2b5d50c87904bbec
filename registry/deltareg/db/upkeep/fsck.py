"""What fsck walks over: packs and keys, documents and the packs that they name, contradictions."""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from deltareg.db.hub import hub_drafts
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.upsert import batches
from deltareg.db.storage.rows import EntryRow, PackRow, PieceEntryRow
from deltareg.db.storage.shares import PackHolder
from deltareg.db.tables import (
    base_packs,
    bases,
    deltas,
    form_packs,
    namespaces,
    packs,
    piece_packs,
    pieces,
    upload_packs,
    version_bases,
    version_packs,
    versions,
)
from deltareg.db.upkeep.rows import CheckedDocumentsRow, StoredPackRow

_SHOWN = (packs.c.id, packs.c.scope, packs.c.digest, packs.c.physical_key, packs.c.size_bytes)


def newest_pack(conn: sa.Connection) -> int:
    """Return the highest row id of a pack, which says about how many there are."""
    return int(conn.execute(sa.select(sa.func.coalesce(sa.func.max(packs.c.id), 0))).scalar_one())


def packs_within(conn: sa.Connection, begin: str, end: str) -> Sequence[StoredPackRow]:
    """List all packs whose keys lie between two beginnings of keys, the last exclusive."""
    bad_why = sa.case((packs.c.bad_at.is_not(None), sa.func.coalesce(packs.c.bad_why, "it is damaged")))
    query = sa.select(*_SHOWN, packs.c.state, bad_why.label("bad_why"))
    return fetch_all(conn, query.where(packs.c.physical_key >= begin, packs.c.physical_key < end), StoredPackRow)


def live_among(conn: sa.Connection, rows: Iterable[StoredPackRow]) -> set[int]:
    """Return which of some packs are live under the keys that they had."""
    keys = {row.id: row.physical_key for row in rows}
    found: set[int] = set()
    for part in batches(list(keys)):
        query = sa.select(packs.c.id, packs.c.physical_key).where(packs.c.id.in_(part), packs.c.state == "live")
        found |= {row.id for row in conn.execute(query) if keys[row.id] == row.physical_key}
    return found


def known_keys(conn: sa.Connection, keys: Sequence[str]) -> set[str]:
    """Return which of some keys belong to a pack, an upload or a draft."""
    known: set[str] = set()
    for part in batches(list(keys)):
        for table in (packs, upload_packs):
            known |= set(conn.execute(sa.select(table.c.physical_key).where(table.c.physical_key.in_(part))).scalars())
        known |= hub_drafts.known_keys(conn, part)
    return known


def manifests_of(conn: sa.Connection, digest: str) -> list[bytes]:
    """Return the manifests that should have a digest, as their rows store them."""
    manifests: list[bytes] = []
    for table in (versions, bases):
        stored_manifest = sa.type_coerce(table.c.manifest, sa.LargeBinary)
        query = sa.select(stored_manifest.label("manifest")).where(table.c.manifest_digest == digest)
        manifests += (bytes(row.manifest) for row in conn.execute(query))
    return manifests


def piece_entries(conn: sa.Connection, *, after: int, limit: int) -> Sequence[PieceEntryRow]:
    """List the places of pieces, as stored, with the packs that are recorded to contain them."""
    query = (
        sa.select(pieces.c.id, pieces.c.digest, sa.type_coerce(pieces.c.entry, sa.LargeBinary).label("entry"))
        .where(pieces.c.id > after)
        .order_by(pieces.c.id)
        .limit(limit)
    )
    rows = fetch_all(conn, query, EntryRow)
    pack_digests: dict[int, set[str]] = {}
    inside = (
        sa.select(piece_packs.c.piece_id, packs.c.digest)
        .join(packs, packs.c.id == piece_packs.c.pack_id)
        .join(pieces, pieces.c.id == piece_packs.c.piece_id)
        .where(piece_packs.c.piece_id.in_([row.id for row in rows]), packs.c.scope == pieces.c.scope)
    )
    for piece_id, digest in conn.execute(inside):
        pack_digests.setdefault(piece_id, set()).add(digest)
    return [
        PieceEntryRow(row.id, row.digest, bytes(row.entry), frozenset(pack_digests.get(row.id, ()))) for row in rows
    ]


def forget_entries(conn: sa.Connection, ids: Sequence[int]) -> None:
    """Forget where some pieces are."""
    for part in batches(list(ids)):
        conn.execute(sa.delete(pieces).where(pieces.c.id.in_(part)))


def version_documents(conn: sa.Connection, *, after: int, limit: int) -> Sequence[CheckedDocumentsRow]:
    """List the documents of versions, as stored, with the digests of the manifests."""
    subject = namespaces.c.name + "/" + deltas.c.name + ":v"
    query = (
        sa.select(
            versions.c.id,
            *_document_columns(versions),
            versions.c.manifest_digest,
            (subject + sa.cast(versions.c.number, sa.Text)).label("subject"),
            versions.c.released_at.is_(None).label("has_bytes"),
        )
        .join(deltas, deltas.c.id == versions.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .where(versions.c.id > after)
        .order_by(versions.c.id)
        .limit(limit)
    )
    return fetch_all(conn, query, CheckedDocumentsRow)


def base_documents(conn: sa.Connection, *, after: int, limit: int) -> Sequence[CheckedDocumentsRow]:
    """List the documents of bases, as stored, with the digests of the manifests.

    A base that is a version loses its bytes with that version.
    """
    is_released = (
        sa.exists()
        .where(version_bases.c.base_id == bases.c.id)
        .where(version_bases.c.version_id == versions.c.id, versions.c.released_at.is_not(None))
    )
    query = (
        sa.select(
            bases.c.id,
            *_document_columns(bases),
            bases.c.manifest_digest,
            bases.c.name.label("subject"),
            (~is_released).label("has_bytes"),
        )
        .where(bases.c.id > after)
        .order_by(bases.c.id)
        .limit(limit)
    )
    return fetch_all(conn, query, CheckedDocumentsRow)


def needed_digests(conn: sa.Connection, holders: Sequence[PackHolder]) -> set[tuple[PackHolder, str]]:
    """Return the packs that rows say some versions and bases need, by their digests."""
    found: set[tuple[PackHolder, str]] = set()
    for is_base, needs, column in (
        (False, version_packs, version_packs.c.version_id),
        (True, base_packs, base_packs.c.base_id),
    ):
        for part in batches([held.row_id for held in holders if held.is_base == is_base]):
            query = sa.select(column, packs.c.digest).join(packs, packs.c.id == needs.c.pack_id).where(column.in_(part))
            found |= {(PackHolder(row_id, is_base=is_base), digest) for row_id, digest in conn.execute(query)}
    return found


def needed_but_marked(conn: sa.Connection) -> Sequence[PackRow]:
    """List packs marked for deletion that a version, a base or a form needs: there must be none."""
    is_needed = sa.or_(
        sa.exists().where(version_packs.c.pack_id == packs.c.id),
        sa.exists().where(base_packs.c.pack_id == packs.c.id),
        sa.exists().where(form_packs.c.pack_id == packs.c.id),
    )
    return fetch_all(conn, sa.select(*_SHOWN).where(packs.c.state == "deleting", is_needed), PackRow)


def _document_columns(table: sa.Table) -> list[sa.ColumnElement[bytes]]:
    """Select a table's documents without decoding them, so that a damaged one fails no query."""
    return [sa.type_coerce(table.c[name], sa.LargeBinary) for name in ("manifest", "storage_map")]
