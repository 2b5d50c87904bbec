"""Whose each pack is, and what lines store: what triggers wrote down is looked at, and added up.

A pack counts for the oldest live version or standing base that needs it, its owner. Whoever settles holds a
lock, so that there is one; pushes and deletions wait for none of it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields

import sqlalchemy as sa

from deltareg.db.bases.stacks import is_standing
from deltareg.db.sql.among import among, write_ids
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.upsert import insert
from deltareg.db.storage.rows import ShareRow, StorageChangeRow
from deltareg.db.tables import (
    SHARE_FIGURES,
    STORAGE_FIGURES,
    base_packs,
    base_shares,
    bases,
    line_storage,
    packs,
    storage_changes,
    version_packs,
    version_shares,
    versions,
)

_LOCK = 7_260_061
# As the index has it; of a boolean, SQLAlchemy would make another condition.
_IS_SOUGHT = sa.text("(version_shares.is_owner IS NULL OR version_shares.is_owner)")


def lock_settling(conn: sa.Connection) -> None:
    """Wait until nobody else settles, and keep others from it until the transaction ends."""
    if conn.dialect.name == "postgresql":
        conn.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))


def has_changes(conn: sa.Connection) -> bool:
    """Whether something waits to be settled."""
    return conn.execute(sa.select(storage_changes.c.id).limit(1)).first() is not None


def next_changes(conn: sa.Connection, *, limit: int) -> Sequence[StorageChangeRow]:
    """Return the oldest changes that wait."""
    return fetch_all(conn, sa.select(storage_changes).order_by(storage_changes.c.id).limit(limit), StorageChangeRow)


def drop_changes(conn: sa.Connection, ids: Iterable[int]) -> None:
    """Drop changes that were settled; by id, as one with a lower id may be committed later."""
    conn.execute(sa.delete(storage_changes).where(among(storage_changes.c.id, sa.literal(write_ids(ids), sa.Text))))


def sought_shares(conn: sa.Connection, pack_ids: Collection[int]) -> list[ShareRow]:
    """Return the owners of packs and the shares that nobody settled, of holders that are there until the end.

    Their holders are locked first, so that what is read of them stays true: deleting one waits.
    """
    ids = sa.literal(write_ids(pack_ids), sa.Text)
    of_versions = sa.and_(among(version_shares.c.pack_id, ids), _IS_SOUGHT)
    needed = sa.select(base_packs.c.base_id, base_packs.c.pack_id).where(among(base_packs.c.pack_id, ids))
    of_bases = sa.tuple_(base_shares.c.base_id, base_shares.c.pack_id).in_(needed)
    for table, holder, condition in (
        (versions, version_shares.c.version_id, of_versions),
        (bases, base_shares.c.base_id, of_bases),
    ):
        found = sorted(set(conn.execute(sa.select(holder).where(condition)).scalars()))
        locked = among(table.c.id, sa.literal(write_ids(found), sa.Text))
        if found:
            conn.execute(sa.select(table.c.id).where(locked).order_by(table.c.id).with_for_update(read=True)).all()
    query = sa.union_all(
        _select_version_shares().where(of_versions, versions.c.deleted_at.is_(None)),
        _select_base_shares().where(of_bases, is_standing()),
    )
    return fetch_all(conn, query, ShareRow)


def oldest_others(conn: sa.Connection, pack_ids: Collection[int]) -> list[ShareRow]:
    """Return, of packs that lost their owner, the share of the oldest version left that was none so far."""
    ids = sa.literal(write_ids(pack_ids), sa.Text)
    is_other = sa.and_(among(version_packs.c.pack_id, ids), version_shares.c.is_owner.is_(False))
    turn = sa.func.row_number().over(
        partition_by=version_shares.c.pack_id, order_by=[versions.c.created_at, versions.c.id]
    )
    needed = sa.and_(
        version_packs.c.version_id == version_shares.c.version_id, version_packs.c.pack_id == version_shares.c.pack_id
    )
    query = _select_version_shares(turn.label("turn")).join(version_packs, needed)
    placed = query.where(is_other, versions.c.deleted_at.is_(None)).subquery()
    names = [placed.c[each.name] for each in fields(ShareRow)]
    return fetch_all(conn, sa.select(*names).where(placed.c.turn == 1), ShareRow)


def mark_shares(conn: sa.Connection, shares: Sequence[ShareRow], *, is_owner: bool) -> None:
    """Write down whether packs count for holders."""
    for table, own, is_base in ((version_shares, "version_id", 0), (base_shares, "base_id", 1)):
        rows = [{"of": row.holder, "in": row.pack_id} for row in shares if row.is_base == is_base]
        is_it = sa.and_(table.c[own] == sa.bindparam("of"), table.c.pack_id == sa.bindparam("in"))
        if rows:
            conn.execute(sa.update(table).where(is_it).values(is_owner=is_owner), rows)


def add_storage(conn: sa.Connection, sums: Mapping[tuple[int, str], Mapping[str, int]]) -> None:
    """Add figures, by line and kind, to those that are kept; those locked first come first, for everybody alike."""
    rows = [
        {"delta_id": delta_id, "kind": kind} | {name: figures.get(name, 0) for name in STORAGE_FIGURES}
        for (delta_id, kind), figures in sorted(sums.items())
    ]
    if rows:
        statement = insert(conn, line_storage)
        summed = {name: line_storage.c[name] + statement.excluded[name] for name in STORAGE_FIGURES}
        conn.execute(statement.on_conflict_do_update(index_elements=["delta_id", "kind"], set_=summed), rows)


def _select_version_shares(*more: sa.ColumnElement[int]) -> sa.Select[*tuple[object, ...]]:
    return (
        sa.select(
            sa.literal(0).label("is_base"),
            version_shares.c.version_id.label("holder"),
            version_shares.c.pack_id,
            versions.c.created_at,
            version_shares.c.is_owner,
            versions.c.delta_id,
            versions.c.kind,
            packs.c.size_bytes,
            *(version_shares.c[name] for name in SHARE_FIGURES),
            *more,
        )
        .join(versions, versions.c.id == version_shares.c.version_id)
        .join(packs, packs.c.id == version_shares.c.pack_id)
    )


def _select_base_shares() -> sa.Select[*tuple[object, ...]]:
    return (
        sa.select(
            sa.literal(1).label("is_base"),
            base_shares.c.base_id.label("holder"),
            base_shares.c.pack_id,
            bases.c.created_at,
            base_shares.c.is_owner,
            sa.cast(sa.null(), sa.BigInteger).label("delta_id"),
            sa.cast(sa.null(), sa.Text).label("kind"),
            packs.c.size_bytes,
            *(base_shares.c[name] for name in SHARE_FIGURES),
        )
        .join(bases, bases.c.id == base_shares.c.base_id)
        .join(packs, packs.c.id == base_shares.c.pack_id)
    )
