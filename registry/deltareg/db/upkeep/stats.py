"""Storage statistics: what is kept of lines, what single versions and bases store, and what nothing needs.

A pack counts for its owner, the oldest live version or standing base that needs it
(`deltareg.db.storage.settling`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from deltareg.db.bases.stacks import is_standing
from deltareg.db.sql.among import among_found
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.storage.rows import HolderRow, LooseKeyRow
from deltareg.db.tables import (
    SHARE_FIGURES,
    STORAGE_FIGURES,
    base_shares,
    bases,
    deltas,
    line_storage,
    namespaces,
    packs,
    upload_packs,
    uploads,
    version_bases,
    version_shares,
    versions,
)
from deltareg.db.tables.packs import UNADOPTED
from deltareg.identity.manifest import BASE_KIND

Select = sa.Select[*tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class StatsScope:
    """A part of the registry; None means no restriction.

    Attributes:
        scope: The scope of its packs.
        delta_id: A line.
        version_id: A version, including what it stores as a base.
    """

    scope: str | None = None
    delta_id: int | None = None
    version_id: int | None = None


def line_rows(conn: sa.Connection, part: StatsScope, *, by_line: bool) -> Sequence[HolderRow]:
    """Return what the live versions of a part store, for each kind of a line or of a namespace."""
    line = deltas.c.name if by_line else sa.null()
    names = [namespaces.c.name, line_storage.c.kind, *([deltas.c.name] if by_line else [])]
    query = _join_line(
        sa.select(
            namespaces.c.name.label("namespace"),
            sa.cast(line, sa.Text).label("line"),
            sa.cast(sa.null(), sa.BigInteger).label("number"),
            sa.literal(0).label("is_base"),
            line_storage.c.kind,
            _sum(line_storage.c.versions).label("holders"),
            *(_sum(line_storage.c[name]).label(name) for name in STORAGE_FIGURES[1:]),
        ),
        line_storage.c.delta_id,
    )
    query = _within(query, part).group_by(*names).having(sa.func.sum(line_storage.c.versions) != 0)
    return fetch_all(conn, query, HolderRow)


def version_row(conn: sa.Connection, version_id: int) -> Sequence[HolderRow]:
    """Return what a live version stores; nothing of one that is deleted."""
    return _version_rows(conn, versions.c.id == version_id)


def largest_versions(conn: sa.Connection, delta_id: int, *, limit: int) -> Sequence[HolderRow]:
    """Return what those live versions of a line store, each for itself, whose pieces take the most bytes."""
    is_live = sa.and_(versions.c.delta_id == delta_id, versions.c.deleted_at.is_(None))
    largest = sa.select(versions.c.id).where(is_live).order_by(versions.c.stored_bytes.desc()).limit(limit)
    return _version_rows(conn, among_found(versions.c.id, largest.scalar_subquery()))


def _version_rows(conn: sa.Connection, is_one: sa.ColumnElement[bool]) -> Sequence[HolderRow]:
    query = _select_holder(versions, version_shares, is_base=0, kind=versions.c.kind)
    query = query.outerjoin(version_shares, version_shares.c.version_id == versions.c.id)
    query = _join_line(_join_pack(query, version_shares), versions.c.delta_id)
    query = query.where(is_one, versions.c.deleted_at.is_(None))
    return fetch_all(conn, query.group_by(versions.c.id, namespaces.c.name, deltas.c.name), HolderRow)


def base_rows(conn: sa.Connection, part: StatsScope) -> Sequence[HolderRow]:
    """Return what the standing bases of a part store, each for itself; a plain base has no names."""
    query = _select_holder(bases, base_shares, is_base=1, kind=sa.literal(BASE_KIND))
    query = _join_pack(query.outerjoin(base_shares, base_shares.c.base_id == bases.c.id), base_shares)
    query = query.outerjoin(version_bases, version_bases.c.base_id == bases.c.id)
    query = query.outerjoin(versions, versions.c.id == version_bases.c.version_id)
    query = query.outerjoin(deltas, deltas.c.id == versions.c.delta_id)
    query = query.outerjoin(namespaces, namespaces.c.id == deltas.c.namespace_id)
    query = _within(query.where(is_standing(), bases.c.storage_map.is_not(None)), part)
    return fetch_all(conn, query.group_by(bases.c.id, versions.c.id, namespaces.c.name, deltas.c.name), HolderRow)


def loose_keys(conn: sa.Connection, scope: str | None) -> Sequence[LooseKeyRow]:
    """List keys that may hold an object other than a live pack: of pushes, and of marked packs.

    The columns: `scope`, `physical_key`, `is_open` (the push is still open), and `size_bytes` if
    the database is certain of it.
    """
    is_open = uploads.c.state == "open"
    is_durable = sa.and_(is_open, upload_packs.c.state == "received")
    of_uploads = (
        sa.select(
            uploads.c.scope,
            upload_packs.c.physical_key,
            is_open.label("is_open"),
            sa.case((is_durable, upload_packs.c.size_bytes)).label("size_bytes"),
        )
        .join(uploads, uploads.c.id == upload_packs.c.upload_id)
        .where(UNADOPTED, ~sa.exists().where(packs.c.physical_key == upload_packs.c.physical_key))
    )
    of_packs = sa.select(
        packs.c.scope, packs.c.physical_key, sa.false().label("is_open"), sa.null().label("size_bytes")
    ).where(packs.c.state == "deleting")
    if scope is not None:
        of_uploads = of_uploads.where(uploads.c.scope == scope)
        of_packs = of_packs.where(packs.c.scope == scope)
    return fetch_all(conn, sa.union_all(of_uploads, of_packs), LooseKeyRow)


def _select_holder(holder: sa.Table, shares: sa.Table, *, is_base: int, kind: sa.ColumnElement[str]) -> Select:
    """Select the figures of each row of a table from its shares, with the pack of each as `packs`."""
    decoded = shares.c.referenced_bytes + shares.c.alone_bytes
    return sa.select(
        namespaces.c.name.label("namespace"),
        deltas.c.name.label("line"),
        versions.c.number,
        sa.literal(is_base).label("is_base"),
        kind.label("kind"),
        sa.literal(1).label("holders"),
        holder.c.logical_bytes,
        sa.func.length(holder.c.manifest).label("manifest_bytes"),
        sa.func.length(holder.c.storage_map).label("map_bytes"),
        _sum(sa.case((shares.c.is_owner, packs.c.size_bytes), else_=0)).label("pack_bytes"),
        *(_sum(sa.case((shares.c.is_owner, shares.c[name]), else_=0)).label(name) for name in SHARE_FIGURES),
        _sum(sa.case((shares.c.is_owner, 0), else_=decoded)).label("shared_bytes"),
    ).select_from(holder)


def _join_pack(query: Select, shares: sa.Table) -> Select:
    return query.outerjoin(packs, packs.c.id == shares.c.pack_id)


def _join_line(query: Select, delta_id: sa.ColumnElement[int]) -> Select:
    return query.join(deltas, deltas.c.id == delta_id).join(namespaces, namespaces.c.id == deltas.c.namespace_id)


def _within(query: Select, part: StatsScope) -> Select:
    if part.scope is not None:
        query = query.where("ns:" + namespaces.c.name == part.scope)
    if part.delta_id is not None:
        query = query.where(deltas.c.id == part.delta_id)
    if part.version_id is not None:
        query = query.where(versions.c.id == part.version_id)
    return query


def _sum(value: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    return sa.cast(sa.func.coalesce(sa.func.sum(value), 0), sa.BigInteger)
