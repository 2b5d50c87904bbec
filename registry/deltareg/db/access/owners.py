"""Whose a service account or a machine is, and who stands behind it because of that.

The owner is a person or a group; of a group, all its members stand behind what it owns, those who
joined later too.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from deltareg.db.access.grants import people_of
from deltareg.db.access.rows import OwnedRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.tables import account_owners, group_members, principals, stand_ins

GROUP = "group"


def owner_of(conn: sa.Connection, principal_id: int) -> int | None:
    """Return the owner of a service account or a machine; None if it is nobody's."""
    query = sa.select(account_owners.c.owner_id).where(account_owners.c.principal_id == principal_id)
    return conn.execute(query.order_by(account_owners.c.id.desc()).limit(1)).scalar()


def set_owner(conn: sa.Connection, principal_id: int, owner_id: int, *, created_by: int | None) -> None:
    """Record whose a principal is from now on, and that whoever the owner is stands behind it."""
    values = {"principal_id": principal_id, "owner_id": owner_id, "created_by": created_by}
    conn.execute(sa.insert(account_owners).values(values))
    add_people(conn, principal_id, members_of(conn, owner_id))


def add_people(conn: sa.Connection, principal_id: int, person_ids: Iterable[int]) -> None:
    """Record that persons stand behind a principal, and behind those that it or its groups stand behind."""
    behind_it = sa.select(stand_ins.c.principal_id).where(
        stand_ins.c.person_id == principal_id, stand_ins.c.ended_at.is_(None)
    )
    people = _without_scripts(conn, person_ids)
    of_groups = [row.id for row in owned_by(conn, sorted(groups_with(conn, principal_id)))]
    for each in {principal_id, *conn.execute(behind_it).scalars(), *of_groups}:
        live = sa.select(stand_ins.c.person_id).where(stand_ins.c.principal_id == each, stand_ins.c.ended_at.is_(None))
        missing = people - {each, *conn.execute(live).scalars()}
        rows = [{"principal_id": each, "person_id": person} for person in sorted(missing)]
        if rows:
            conn.execute(sa.insert(stand_ins), rows)


def end_people(conn: sa.Connection, principal_id: int) -> None:
    """Record that those who stood behind a principal do not any more: they hold no secret of it."""
    live = sa.and_(stand_ins.c.principal_id == principal_id, stand_ins.c.ended_at.is_(None))
    conn.execute(sa.update(stand_ins).where(live).values(ended_at=now_us()))


def members_of(conn: sa.Connection, owner_id: int) -> set[int]:
    """Return the persons that an owner is: itself, or the members of a group and those behind them."""
    kind = conn.execute(sa.select(principals.c.kind).where(principals.c.id == owner_id)).scalar()
    if kind != GROUP:
        return {owner_id}
    query = sa.select(group_members.c.member_id).where(group_members.c.group_id == owner_id)
    return _people(conn, conn.execute(query).scalars())


def groups_with(conn: sa.Connection, member_id: int) -> set[int]:
    """Return the groups that a person is in."""
    query = sa.select(group_members.c.group_id).where(group_members.c.member_id == member_id)
    return set(conn.execute(query).scalars())


def join_owned(conn: sa.Connection, group_id: int, member_ids: Iterable[int]) -> None:
    """Record that new members of a group stand behind all that the group owns."""
    joining = _people(conn, member_ids)
    for row in owned_by(conn, [group_id]):
        add_people(conn, row.id, joining)


def _people(conn: sa.Connection, member_ids: Iterable[int]) -> set[int]:
    """Return the persons that members of a group are: for a service account, those behind it now."""
    return {person for people in people_of(conn, member_ids, now=True).values() for person in people}


def _without_scripts(conn: sa.Connection, principal_ids: Iterable[int]) -> set[int]:
    """Return some principals, and for those behind whom somebody ever stood those who do now.

    A script that was nobody's counted as itself, and may stand behind another one when it becomes
    somebody's; one that a group has in which nobody is has nobody behind it.
    """
    named = set(principal_ids)
    people = named.union(*people_of(conn, named, now=True).values())
    scripts = sa.select(stand_ins.c.principal_id).where(stand_ins.c.principal_id.in_(sorted(people)))
    return people - {*conn.execute(scripts).scalars()}


def owned_by(conn: sa.Connection, owner_ids: Sequence[int] | None = None) -> Sequence[OwnedRow]:
    """List what persons or groups own now: service accounts and machines, by name; all with None."""
    query = _select_owned()
    if owner_ids is not None:
        query = query.where(account_owners.c.owner_id.in_(list(owner_ids)))
    return fetch_all(conn, query.order_by(principals.c.name), OwnedRow)


def owner_names(conn: sa.Connection, principal_ids: Sequence[int]) -> dict[int, str]:
    """Return the names of the owners of principals; those that are nobody's are left out."""
    query = _select_owned().where(principals.c.id.in_(list(principal_ids)))
    return {row.id: row.owner for row in fetch_all(conn, query, OwnedRow)}


def _select_owned() -> sa.Select[*tuple[Any, ...]]:
    newest = sa.select(sa.func.max(account_owners.c.id)).group_by(account_owners.c.principal_id)
    owner = principals.alias("owner")
    return (
        sa.select(principals.c.id, principals.c.name, principals.c.kind, owner.c.name.label("owner"))
        .join(account_owners, account_owners.c.principal_id == principals.c.id)
        .join(owner, owner.c.id == account_owners.c.owner_id)
        .where(account_owners.c.id.in_(newest))
    )
