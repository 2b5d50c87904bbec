"""Who holds a role, by itself or by a group: a page of those who act, by name."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.access.grants import behind
from deltareg.db.access.rows import ActingRow
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.tables import grants, group_members, principals, roles


@dataclass(frozen=True, slots=True)
class RoleFilter:
    """Which roles count: built-in ones by their names, and others by their rows."""

    names: Collection[str]
    ids: Collection[int]


def acting_rows(
    conn: sa.Connection, *, namespace_id: int | None, only: RoleFilter | None, after: str | None, limit: int
) -> Sequence[ActingRow]:
    """List by name who acts and holds a role: no groups, and nobody who is disabled.

    Args:
        conn: A transaction.
        namespace_id: Roles of this namespace and those for everywhere; None for all roles.
        only: Which roles count; None for all.
        after: The last name of the page before.
        limit: How many at most.
    """
    counts: list[sa.ColumnElement[bool]] = [grants.c.ended_at.is_(None)]
    if namespace_id is not None:
        counts.append(sa.or_(grants.c.namespace_id == namespace_id, grants.c.namespace_id.is_(None)))
    if only is not None:
        is_built_in = sa.and_(grants.c.role_id.is_(None), grants.c.role.in_(sorted(only.names)))
        counts.append(sa.or_(is_built_in, grants.c.role_id.in_(sorted(only.ids))))
    itself = sa.exists().where(grants.c.principal_id == principals.c.id, *counts)
    by_group = (
        sa.exists()
        .where(grants.c.principal_id == group_members.c.group_id, group_members.c.member_id == principals.c.id, *counts)
        .correlate(principals)
    )
    query = (
        sa.select(principals.c.id, principals.c.name, principals.c.kind, behind(principals.c.id).label("people"))
        .where(principals.c.disabled_at.is_(None), principals.c.kind != "group", sa.or_(itself, by_group))
        .order_by(principals.c.name)
        .limit(limit)
    )
    return fetch_all(conn, query if after is None else query.where(principals.c.name > after), ActingRow)


def own_roles(conn: sa.Connection) -> dict[int, str]:
    """Return the rights, joined by "+", of all roles of one's own that have not ended."""
    query = sa.select(roles.c.id, roles.c.rights).where(roles.c.ended_at.is_(None))
    return {row.id: row.rights for row in conn.execute(query)}


def groups_of_members(conn: sa.Connection, member_ids: Collection[int]) -> list[tuple[int, int]]:
    """List (group, member) pairs of some members, those of each group by the member's name."""
    query = (
        sa.select(group_members.c.group_id, group_members.c.member_id)
        .join(principals, principals.c.id == group_members.c.member_id)
        .where(group_members.c.member_id.in_(sorted(member_ids)))
        .order_by(principals.c.name)
    )
    return [(row.group_id, row.member_id) for row in conn.execute(query)]
