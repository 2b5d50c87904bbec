"""Groups, who is in them, and the groups that somebody is in."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from deltareg.db.access.group_rows import GroupMemberRow, GroupRow
from deltareg.db.access.owners import join_owned
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.tables import grants, group_members, groups, namespaces, principals
from deltareg.errors import InvalidInput
from deltareg.refs import parse_name

KIND = "group"


@dataclass(frozen=True, slots=True)
class MembershipChange:
    """What a sign-in provider changed about the groups of one principal.

    Attributes:
        made: Groups that were missing.
        joined: Groups that it is in now, and was not.
        left: Groups that it was in, and is not now.
        passed_over: Names that are no group of this provider: somebody else keeps the group, the name is
            another principal's, or it is no name.
    """

    made: Sequence[str] = ()
    joined: Sequence[str] = ()
    left: Sequence[str] = ()
    passed_over: Sequence[str] = ()


def groups_of(conn: sa.Connection, member_id: int) -> Sequence[GroupRow]:
    """List the groups that somebody is in, by name."""
    query = _select_groups().join(group_members, group_members.c.group_id == groups.c.group_id)
    return fetch_all(conn, query.where(group_members.c.member_id == member_id), GroupRow)


def replace_memberships(conn: sa.Connection, member_id: int, *, source: str, groups: Iterable[str]) -> MembershipChange:
    """Make the groups that a sign-in provider keeps for a principal those that it names; missing ones are made.

    Groups that people or other providers keep stay as they are: what a provider lets its users call
    a group gives nothing that it was not given.

    Args:
        conn: The transaction.
        member_id: A person or a service.
        source: The provider's name.
        groups: The names of the groups that the provider says it is in.

    Raises:
        InvalidInput: `source` is empty.
    """
    if not source:
        raise InvalidInput("a group that people keep has no provider", fix="name the provider")
    kept, made, passed_over = dict[str, int](), list[str](), list[str]()
    for name in sorted(set(groups)):
        is_new, row = _ensure_group(conn, name, source)
        if row is None:
            passed_over.append(name)
            continue
        kept[name] = row.id
        made += [name] if is_new else []
    before = {row.name: row.id for row in groups_of(conn, member_id) if row.source == source}
    joined, left = sorted(kept.keys() - before.keys()), sorted(before.keys() - kept.keys())
    for name in left:
        end_membership(conn, before[name], member_id)
    for name in joined:
        add_membership(conn, kept[name], member_id, created_by=None)
    return MembershipChange(made, joined, left, passed_over)


def add_group(conn: sa.Connection, name: str, *, source: str, created_by: int | None) -> GroupRow | None:
    """Make a group; return None if its name is another principal's.

    The name of a group that was removed makes a new one, in which nobody is and which holds nothing.
    """
    try:
        with conn.begin_nested():
            row = conn.execute(sa.select(principals.c.id, principals.c.kind).where(principals.c.name == name)).first()
            if row is not None and row.kind != KIND:
                return None
            insert = sa.insert(principals).values(name=name, kind=KIND).returning(principals.c.id)
            group_id = row.id if row is not None else conn.execute(insert).scalar_one()
            conn.execute(sa.insert(groups).values(group_id=group_id, source=source, created_by=created_by))
    except IntegrityError:  # somebody made it, or a principal of this name, meanwhile
        pass
    return group_row(conn, name)


def group_row(conn: sa.Connection, name: str) -> GroupRow | None:
    """Find a group by its name."""
    return fetch_one(conn, _select_groups().where(principals.c.name == name), GroupRow)


def namespaces_of(conn: sa.Connection, group_id: int | None = None) -> Sequence[tuple[int, str]]:
    """List the groups that hold a role in a namespace, with it; of one group, or of all."""
    query = (
        sa.select(groups.c.group_id, namespaces.c.name)
        .join(grants, grants.c.principal_id == groups.c.group_id)
        .join(namespaces, namespaces.c.id == grants.c.namespace_id)
        .where(grants.c.ended_at.is_(None))
        .distinct()
    )
    if group_id is not None:
        query = query.where(groups.c.group_id == group_id)
    return [(row[0], row[1]) for row in conn.execute(query)]


def is_member(conn: sa.Connection, group_id: int, member_id: int) -> bool:
    """Whether somebody is in a group."""
    is_in = sa.and_(group_members.c.group_id == group_id, group_members.c.member_id == member_id)
    return conn.execute(sa.select(group_members.c.member_id).where(is_in)).first() is not None


def group_rows(
    conn: sa.Connection, *, ids: Sequence[int] | None = None, after: str | None = None, limit: int | None = None
) -> Sequence[GroupRow]:
    """List groups by name: all, or those of some ids."""
    query = _select_groups()
    if ids is not None:
        query = query.where(groups.c.group_id.in_(ids))
    if after is not None:
        query = query.where(principals.c.name > after)
    return fetch_all(conn, query if limit is None else query.limit(limit), GroupRow)


def lock_group(conn: sa.Connection, group_id: int) -> bool:
    """Lock a group until the transaction ends; return False if it was removed."""
    query = sa.select(groups.c.group_id).where(groups.c.group_id == group_id).with_for_update()
    return conn.execute(query).first() is not None


def set_source(conn: sa.Connection, group_id: int, source: str) -> None:
    """Say who keeps the members of a group: a sign-in provider, or people if it is empty."""
    conn.execute(sa.update(groups).where(groups.c.group_id == group_id).values(source=source))


def delete_group(conn: sa.Connection, group_id: int) -> None:
    """Remove a group and everybody from it; its name stays taken."""
    conn.execute(sa.delete(group_members).where(group_members.c.group_id == group_id))
    conn.execute(sa.delete(groups).where(groups.c.group_id == group_id))


def add_membership(conn: sa.Connection, group_id: int, member_id: int, *, created_by: int | None) -> bool:
    """Take somebody into a group; return False if they are in it already."""
    values = {"group_id": group_id, "member_id": member_id, "created_by": created_by}
    if is_member(conn, group_id, member_id):
        return False
    try:
        with conn.begin_nested():
            conn.execute(sa.insert(group_members).values(values))
    except IntegrityError:
        if not is_member(conn, group_id, member_id):
            raise  # not that: the group is gone, or the member is none that a group takes
        return False
    join_owned(conn, group_id, [member_id])
    return True


def end_membership(conn: sa.Connection, group_id: int, member_id: int) -> bool:
    """Take somebody out of a group; return False if they are not in it.

    They still stand behind what the group owns: they may know its secrets.
    """
    delete = sa.delete(group_members).where(
        group_members.c.group_id == group_id, group_members.c.member_id == member_id
    )
    return conn.execute(delete).rowcount == 1


def members_of(conn: sa.Connection, group_ids: Sequence[int]) -> Sequence[GroupMemberRow]:
    """List who is in some groups, by name."""
    giver = principals.alias("giver")
    query = (
        sa.select(
            group_members.c.group_id,
            group_members.c.member_id,
            principals.c.name,
            principals.c.kind,
            principals.c.disabled_at.is_not(None).label("is_disabled"),
            group_members.c.created_at,
            giver.c.name.label("created_by"),
        )
        .join(principals, principals.c.id == group_members.c.member_id)
        .outerjoin(giver, giver.c.id == group_members.c.created_by)
        .where(group_members.c.group_id.in_(group_ids))
        .order_by(principals.c.name)
    )
    return fetch_all(conn, query, GroupMemberRow)


def _ensure_group(conn: sa.Connection, name: str, source: str) -> tuple[bool, GroupRow | None]:
    """Find a provider's group, or make it; None if the name is not the provider's to use."""
    try:
        parse_name(name, "group")
    except InvalidInput:
        return False, None
    row, is_new = group_row(conn, name), False
    if row is None:
        row, is_new = add_group(conn, name, source=source, created_by=None), True
    return is_new, row if row is not None and row.source == source else None


def _select_groups() -> sa.Select[*tuple[Any, ...]]:
    maker = principals.alias("maker")
    members = (
        sa.select(sa.func.count())
        .select_from(group_members)
        .where(group_members.c.group_id == groups.c.group_id)
        .correlate(groups)
        .scalar_subquery()
    )
    return (
        sa.select(
            groups.c.group_id.label("id"),
            principals.c.name,
            groups.c.source,
            members.label("members"),
            groups.c.created_at,
            maker.c.name.label("created_by"),
        )
        .join(principals, principals.c.id == groups.c.group_id)
        .outerjoin(maker, maker.c.id == groups.c.created_by)
        .order_by(principals.c.name)
    )
