"""What settling keeps, worked out anew for fsck: whose each pack is, and what lines store; and put right."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from deltareg.db.bases.stacks import is_standing
from deltareg.db.tables import (
    SHARE_FIGURES,
    STORAGE_FIGURES,
    base_shares,
    bases,
    line_storage,
    packs,
    storage_changes,
    version_shares,
    versions,
)

_Select = sa.Select[*tuple[Any, ...]]


def lines_with_wrong_storage(conn: sa.Connection) -> set[int]:
    """Return the lines of which something is kept that is not what there is, where nothing waits to be settled."""
    owners = _owners()
    differs = version_shares.c.is_owner.is_distinct_from(owners.c.is_first)
    is_it = sa.and_(*_is_share(owners, 0))
    marked = (
        sa.select(versions.c.delta_id)
        .join(version_shares, version_shares.c.version_id == versions.c.id)
        .outerjoin(owners, is_it)
        .where(differs)
    )
    names = ["delta_id", "kind", *STORAGE_FIGURES]
    is_any = sa.or_(*(line_storage.c[name] != 0 for name in STORAGE_FIGURES))
    kept = sa.select(*(line_storage.c[name] for name in names)).where(is_any)
    counted = _select_storage()
    both = sa.union_all(
        sa.select(sa.except_(kept, counted).subquery().c.delta_id),
        sa.select(sa.except_(counted, kept).subquery().c.delta_id),
        marked,
    )
    return set(conn.execute(both).scalars())


def count_wrong_bases(conn: sa.Connection) -> int:
    """Count the packs of bases of which something else is kept than whose they are."""
    owners = _owners()
    differs = base_shares.c.is_owner.is_distinct_from(owners.c.is_first)
    query = sa.select(sa.func.count()).select_from(base_shares.outerjoin(owners, sa.and_(*_is_share(owners, 1))))
    return conn.execute(query.where(differs)).scalar_one()


def set_storage(conn: sa.Connection) -> None:
    """Work everything out anew; whoever pushes or deletes waits until the transaction ends."""
    if conn.dialect.name == "postgresql":
        conn.execute(sa.text(f"LOCK TABLE {storage_changes.name} IN EXCLUSIVE MODE"))
    owners = _owners()
    of_versions = sa.exists().where(versions.c.id == version_shares.c.version_id, versions.c.deleted_at.is_not(None))
    of_bases = sa.exists().where(bases.c.id == base_shares.c.base_id, ~is_standing())
    for table, is_base, is_gone in ((version_shares, 0, of_versions), (base_shares, 1, of_bases)):
        is_it = _is_share(owners, is_base)
        differs = table.c.is_owner.is_distinct_from(owners.c.is_first)
        conn.execute(sa.update(table).where(*is_it, differs).values(is_owner=owners.c.is_first))
        # By its holder: a database that saw no share settled yet would look for one in all owners, one by one.
        conn.execute(sa.update(table).where(table.c.is_owner.is_not(None), is_gone).values(is_owner=None))
    conn.execute(sa.delete(line_storage))
    conn.execute(sa.insert(line_storage).from_select(["delta_id", "kind", *STORAGE_FIGURES], _select_storage()))
    conn.execute(sa.delete(storage_changes))


def _owners() -> sa.Subquery:
    """Select whether each share of what is there is its pack's first: by age, versions before bases."""
    of_versions = (
        sa.select(
            sa.literal(0).label("is_base"),
            version_shares.c.version_id.label("holder"),
            version_shares.c.pack_id,
            versions.c.created_at,
        )
        .join(versions, versions.c.id == version_shares.c.version_id)
        .where(versions.c.deleted_at.is_(None))
    )
    of_bases = (
        sa.select(sa.literal(1), base_shares.c.base_id, base_shares.c.pack_id, bases.c.created_at)
        .join(bases, bases.c.id == base_shares.c.base_id)
        .where(is_standing())
    )
    held = sa.union_all(of_versions, of_bases).subquery()
    turn = sa.func.row_number().over(
        partition_by=held.c.pack_id, order_by=[held.c.created_at, held.c.is_base, held.c.holder]
    )
    placed = sa.select(held, turn.label("turn")).subquery()
    is_first = (placed.c.turn == 1).label("is_first")
    return sa.select(placed.c.is_base, placed.c.holder, placed.c.pack_id, is_first).subquery("owners")


def _is_share(owners: sa.Subquery, is_base: int) -> list[sa.ColumnElement[bool]]:
    table, own = (base_shares, "base_id") if is_base else (version_shares, "version_id")
    return [owners.c.is_base == is_base, owners.c.holder == table.c[own], owners.c.pack_id == table.c.pack_id]


def _select_storage() -> _Select:
    """Add up what lines store, by whose the packs are marked to be."""
    none = [sa.literal(0) for _ in STORAGE_FIGURES]
    figures = [
        sa.literal(1),
        versions.c.logical_bytes,
        sa.func.length(versions.c.manifest),
        sa.func.length(versions.c.storage_map),
        *none[4:],
    ]
    own = [packs.c.size_bytes, *(version_shares.c[name] for name in SHARE_FIGURES)]
    decoded = version_shares.c.referenced_bytes + version_shares.c.alone_bytes
    shares = [
        *none[:4],
        *(sa.case((version_shares.c.is_owner, figure), else_=0) for figure in own),
        sa.case((version_shares.c.is_owner.is_(False), decoded), else_=0),
    ]
    of_shares = (
        sa.select(versions.c.delta_id, versions.c.kind, *_name_each(shares))
        .join(version_shares, version_shares.c.version_id == versions.c.id)
        .join(packs, packs.c.id == version_shares.c.pack_id)
    )
    parts = [sa.select(versions.c.delta_id, versions.c.kind, *_name_each(figures)), of_shares]
    each = sa.union_all(*(query.where(versions.c.deleted_at.is_(None)) for query in parts)).subquery("each_version")
    sums = [sa.cast(sa.func.sum(each.c[name]), sa.BigInteger).label(name) for name in STORAGE_FIGURES]
    return sa.select(each.c.delta_id, each.c.kind, *sums).group_by(each.c.delta_id, each.c.kind)


def _name_each(figures: Sequence[sa.ColumnElement[int]]) -> list[sa.Label[int]]:
    return [figure.label(name) for figure, name in zip(figures, STORAGE_FIGURES, strict=True)]
