"""Storage statistics, summed by the database: by holder, by scope, and what no holder needs.

A pack belongs to the oldest live version or base that needs it. Everything else about who
contributed what is computed from that and from the shares (`queries.shares`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from deltareg.db.bases.stacks import is_standing
from deltareg.db.sql.fetch import fetch_all, fetch_each
from deltareg.db.storage.rows import HolderRow, LooseKeyRow
from deltareg.db.storage.shares import is_share_of_base, is_share_of_version
from deltareg.db.tables import (
    base_packs,
    base_shares,
    bases,
    deltas,
    namespaces,
    packs,
    upload_packs,
    uploads,
    version_bases,
    version_packs,
    version_shares,
    versions,
)
from deltareg.db.tables.packs import UNADOPTED
from deltareg.identity.manifest import BASE_KIND

_FIGURES = ("referenced_bytes", "referenced_payload", "alone_bytes", "alone_payload")
_SUMS = ("pack_bytes", *_FIGURES, "shared_bytes", "unmeasured")
_STREAM_ROWS = 500
_ADDED = ("logical_bytes", "manifest_bytes", "map_bytes", "pack_bytes", *_FIGURES, "shared_bytes", "unmeasured")
Grain = Literal["namespace", "line", "holder"]
_NAMES: Mapping[Grain, Sequence[str]] = {
    "namespace": ("namespace",),
    "line": ("namespace", "line"),
    "holder": ("namespace", "line", "number"),
}
Select = sa.Select[*tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class StatsScope:
    """A part of the registry; None means no restriction.

    Attributes:
        scope: The scope of its packs.
        delta_id: A line.
        version_id: A version, including its packs as a base.
    """

    scope: str | None = None
    delta_id: int | None = None
    version_id: int | None = None


def holder_rows(conn: sa.Connection, part: StatsScope, *, by: Grain) -> Iterator[HolderRow]:
    """Sum what the live versions and stored bases of a part hold; rows are streamed.

    The columns: `namespace`, `line` and `number` (None for a plain base, and where they are summed
    over), `is_base`, `kind`, the number of `holders`; `logical_bytes`, `manifest_bytes`,
    `map_bytes`; of the packs that belong to them `pack_bytes` and the sums of their shares; of the
    other packs that they need `shared_bytes`, decoded; and the number of packs that are
    `unmeasured`.

    Args:
        conn: A transaction.
        part: Which part.
        by: The grain of the rows: each kind of a namespace, each kind of a line, or each holder.
    """
    sums = _sums(part).cte("sums")
    holders = sa.union_all(_versions(sums, part), _bases(sums, part)).subquery("holders")
    names = [holders.c[name] for name in _NAMES[by]]
    none = [sa.null().label(name) for name in ("namespace", "line", "number")]
    query = sa.select(
        *names,
        *none[len(names) :],
        holders.c.is_base,
        holders.c.kind,
        sa.func.count().label("holders"),
        *(_sum(holders.c[name]).label(name) for name in _ADDED),
    )
    query = query.group_by(*names, holders.c.is_base, holders.c.kind, *_one_each(holders, by))
    yield from fetch_each(conn, query.execution_options(yield_per=_STREAM_ROWS), HolderRow)


def _one_each(holders: sa.Subquery, by: Grain) -> list[sa.ColumnElement[int]]:
    """Group by holder if asked for, as plain bases have no names to tell them apart."""
    return [holders.c.id] if by == "holder" else []


def live_pack_bytes(conn: sa.Connection) -> dict[str, int]:
    """Sum the packs that are not marked for deletion, needed or not, by scope."""
    query = sa.select(packs.c.scope, sa.func.sum(packs.c.size_bytes).label("size_bytes"))
    rows = conn.execute(query.where(packs.c.state == "live").group_by(packs.c.scope))
    return {row.scope: int(row.size_bytes) for row in rows}


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


def _sums(part: StatsScope) -> Select:
    """Sum shares and packs by holder, packs that belong to it separately from the others."""
    of_versions, of_bases = _held_by_versions(), _held_by_bases()
    if part.delta_id is not None:  # what others of these packs hold decides whose they are
        needed = _needed_by(part).subquery("needed")
        of_versions = of_versions.where(version_packs.c.pack_id.in_(sa.select(needed)))
        of_bases = of_bases.where(base_packs.c.pack_id.in_(sa.select(needed)))
    elif part.scope is not None:
        of_scope = sa.select(packs.c.id).where(packs.c.scope == part.scope)
        of_versions = of_versions.where(version_packs.c.pack_id.in_(of_scope))
        of_bases = of_bases.where(base_packs.c.pack_id.in_(of_scope))
    holds = sa.union_all(of_versions, of_bases).subquery()
    turn = sa.func.row_number().over(
        partition_by=holds.c.pack_id, order_by=[holds.c.created_at, holds.c.is_base, holds.c.holder]
    )
    query = sa.select(holds, packs.c.size_bytes, turn.label("turn"))
    query = query.join(packs, packs.c.id == holds.c.pack_id)
    if part.scope is not None:
        query = query.where(packs.c.scope == part.scope)
    placed = query.subquery()
    is_own = placed.c.turn == 1
    decoded = placed.c.referenced_bytes + placed.c.alone_bytes
    of_packs = sa.select(
        placed.c.is_base,
        placed.c.holder,
        sa.case((is_own, placed.c.size_bytes), else_=0).label("pack_bytes"),
        *(sa.case((is_own, placed.c[name]), else_=0).label(name) for name in _FIGURES),
        sa.case((is_own, 0), else_=decoded).label("shared_bytes"),
        placed.c.unmeasured,
    )
    # With a row for each holder, whatever it needs: so who reads the sums has one of each, and need not
    # look for it in all of them.
    rows = sa.union_all(of_packs, *_select_holders(part)).subquery("rows")
    return sa.select(rows.c.is_base, rows.c.holder, *(_sum(rows.c[name]).label(name) for name in _SUMS)).group_by(
        rows.c.is_base, rows.c.holder
    )


def _select_holders(part: StatsScope) -> tuple[Select, Select]:
    """Select the versions and the bases of a part, with nothing to add to any sum."""
    none = [sa.literal(0).label(name) for name in _SUMS]
    of_versions = _join_line(sa.select(sa.literal(0).label("is_base"), versions.c.id.label("holder"), *none))
    of_bases = sa.select(sa.literal(1).label("is_base"), bases.c.id.label("holder"), *none).select_from(bases)
    return (
        _within(of_versions.where(versions.c.deleted_at.is_(None)), part),
        _within(_join_version(of_bases).where(is_standing(), bases.c.storage_map.is_not(None)), part),
    )


def _needed_by(part: StatsScope) -> sa.CompoundSelect[Any]:
    """Select the packs that a line or a version needs, including those that it needs as a base."""
    is_it = versions.c.delta_id == part.delta_id
    if part.version_id is not None:
        is_it = versions.c.id == part.version_id
    own = sa.select(version_packs.c.pack_id).join(versions, versions.c.id == version_packs.c.version_id)
    as_bases = (
        sa.select(base_packs.c.pack_id)
        .join(version_bases, version_bases.c.base_id == base_packs.c.base_id)
        .join(versions, versions.c.id == version_bases.c.version_id)
    )
    return sa.union(own.where(is_it), as_bases.where(is_it))


def _held_by_versions() -> Select:
    return (
        sa.select(
            version_packs.c.pack_id,
            versions.c.created_at,
            sa.literal(0).label("is_base"),
            versions.c.id.label("holder"),
            *(version_shares.c[name] for name in _FIGURES),
            _is_missing(version_shares).label("unmeasured"),
        )
        .join(versions, versions.c.id == version_packs.c.version_id)
        .outerjoin(version_shares, is_share_of_version())
        .where(versions.c.deleted_at.is_(None))
    )


def _held_by_bases() -> Select:
    return (
        sa.select(
            base_packs.c.pack_id,
            bases.c.created_at,
            sa.literal(1).label("is_base"),
            bases.c.id.label("holder"),
            *(base_shares.c[name] for name in _FIGURES),
            _is_missing(base_shares).label("unmeasured"),
        )
        .join(bases, bases.c.id == base_packs.c.base_id)
        .outerjoin(base_shares, is_share_of_base())
        .where(is_standing())
    )


def _versions(sums: sa.CTE, part: StatsScope) -> Select:
    query = _join_line(_select_figures(sums, versions, 0, versions.c.kind))
    return _within(query.where(versions.c.deleted_at.is_(None)), part)


def _bases(sums: sa.CTE, part: StatsScope) -> Select:
    query = _join_version(_select_figures(sums, bases, 1, sa.literal(BASE_KIND)))
    return _within(query.where(is_standing(), bases.c.storage_map.is_not(None)), part)


def _join_line(query: Select) -> Select:
    return query.join(deltas, deltas.c.id == versions.c.delta_id).join(
        namespaces, namespaces.c.id == deltas.c.namespace_id
    )


def _join_version(query: Select) -> Select:
    """Join the version that a base is, if it is one."""
    query = query.outerjoin(version_bases, version_bases.c.base_id == bases.c.id)
    query = query.outerjoin(versions, versions.c.id == version_bases.c.version_id)
    query = query.outerjoin(deltas, deltas.c.id == versions.c.delta_id)
    return query.outerjoin(namespaces, namespaces.c.id == deltas.c.namespace_id)


def _select_figures(sums: sa.CTE, holder: sa.Table, is_base: int, kind: sa.ColumnElement[str]) -> Select:
    is_it = sa.and_(sums.c.is_base == is_base, sums.c.holder == holder.c.id)
    return sa.select(
        holder.c.id,
        namespaces.c.name.label("namespace"),
        deltas.c.name.label("line"),
        versions.c.number,
        sa.literal(is_base).label("is_base"),
        kind.label("kind"),
        holder.c.logical_bytes,
        sa.func.length(holder.c.manifest).label("manifest_bytes"),
        sa.func.length(holder.c.storage_map).label("map_bytes"),
        *(sums.c[name] for name in _SUMS),
    ).select_from(sums.join(holder, is_it))


def _within(query: Select, part: StatsScope) -> Select:
    if part.scope is not None:
        query = query.where("ns:" + namespaces.c.name == part.scope)
    if part.delta_id is not None:
        query = query.where(deltas.c.id == part.delta_id)
    if part.version_id is not None:
        query = query.where(versions.c.id == part.version_id)
    return query


def _is_missing(shares: sa.Table) -> sa.ColumnElement[int]:
    return sa.case((shares.c.pack_id.is_(None), 1), else_=0)


def _sum(value: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    return sa.cast(sa.func.coalesce(sa.func.sum(value), 0), sa.BigInteger)
