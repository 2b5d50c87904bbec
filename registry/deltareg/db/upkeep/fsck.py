"""What fsck walks over: live packs, known keys, manifests, contradictions."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from deltareg.db.hub import hub_drafts
from deltareg.db.lines.version_rows import DocumentsRow
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.upsert import batches
from deltareg.db.storage.rows import EntryRow, PackRow, PieceEntryRow
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

_SHOWN = (packs.c.id, packs.c.scope, packs.c.digest, packs.c.physical_key, packs.c.size_bytes)


def live_packs(conn: sa.Connection, *, after: int, limit: int) -> Sequence[PackRow]:
    """List packs that are not marked for deletion."""
    query = sa.select(*_SHOWN).where(packs.c.state == "live", packs.c.id > after)
    return fetch_all(conn, query.order_by(packs.c.id).limit(limit), PackRow)


def is_live(conn: sa.Connection, pack_id: int, *, physical_key: str) -> bool:
    """Whether a pack is live under a key."""
    query = sa.select(packs.c.id).where(
        packs.c.id == pack_id, packs.c.physical_key == physical_key, packs.c.state == "live"
    )
    return conn.execute(query).first() is not None


def known_keys(conn: sa.Connection, keys: Sequence[str]) -> set[str]:
    """Return which of some keys belong to a pack, an upload or a draft."""
    of_packs = sa.select(packs.c.physical_key).where(packs.c.physical_key.in_(keys))
    of_uploads = sa.select(upload_packs.c.physical_key).where(upload_packs.c.physical_key.in_(keys))
    known = set(conn.execute(of_packs).scalars()) | set(conn.execute(of_uploads).scalars())
    return known | hub_drafts.known_keys(conn, keys)


def held_documents(conn: sa.Connection, *, after: int, limit: int) -> Sequence[DocumentsRow]:
    """List the documents of versions that still have their bytes, as `version_documents` does."""
    return fetch_all(conn, _of_versions(after, limit).where(versions.c.released_at.is_(None)), DocumentsRow)


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


def version_documents(conn: sa.Connection, *, after: int, limit: int) -> Sequence[DocumentsRow]:
    """List the documents of versions, as stored, with the digests of the manifests."""
    return fetch_all(conn, _of_versions(after, limit), DocumentsRow)


def _of_bases(after: int, limit: int) -> sa.Select[*tuple[Any, ...]]:
    return (
        sa.select(bases.c.id, *_document_columns(bases), bases.c.manifest_digest, bases.c.name.label("subject"))
        .where(bases.c.id > after)
        .order_by(bases.c.id)
        .limit(limit)
    )


def _of_versions(after: int, limit: int) -> sa.Select[*tuple[Any, ...]]:
    subject = namespaces.c.name + "/" + deltas.c.name + ":v"
    return (
        sa.select(
            versions.c.id,
            *_document_columns(versions),
            versions.c.manifest_digest,
            (subject + sa.cast(versions.c.number, sa.Text)).label("subject"),
        )
        .join(deltas, deltas.c.id == versions.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .where(versions.c.id > after)
        .order_by(versions.c.id)
        .limit(limit)
    )


def base_documents(conn: sa.Connection, *, after: int, limit: int) -> Sequence[DocumentsRow]:
    """List the documents of bases, as stored, with the digests of the manifests."""
    return fetch_all(conn, _of_bases(after, limit), DocumentsRow)


def held_base_documents(conn: sa.Connection, *, after: int, limit: int) -> Sequence[DocumentsRow]:
    """List the documents of bases that still have their bytes, as `base_documents` does.

    A base that is a version loses its bytes with that version.
    """
    is_released = (
        sa.exists()
        .where(version_bases.c.base_id == bases.c.id)
        .where(version_bases.c.version_id == versions.c.id, versions.c.released_at.is_not(None))
    )
    return fetch_all(conn, _of_bases(after, limit).where(~is_released), DocumentsRow)


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
