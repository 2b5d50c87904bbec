"""Who holds which role where, and which person stands behind a script's principal."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from deltareg.db.access.rows import GrantRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.tables import grants, group_members, namespaces, principals, roles, stand_ins, tokens


class joined(GenericFunction[str]):  # noqa: N801  (reads as the SQL function that it is)
    """Join the texts of a group into one, separated by commas."""

    type = sa.Text()
    inherit_cache = True
    name = "deltareg_joined"


@compiles(joined, "sqlite")
def _joined_sqlite(element: joined, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401
    return f"group_concat({compiler.process(element.clauses, **kw)}, ',')"


@compiles(joined, "postgresql")
def _joined_postgresql(element: joined, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401
    return f"string_agg({compiler.process(element.clauses, **kw)}, ',')"


def held_by(principal_id: sa.ColumnElement[int]) -> sa.ScalarSelect[str]:
    """Return a subquery for what a principal and its groups hold: `role namespace pattern`, joined by commas.

    A role of one's own is followed by its rights: `releaser:approve+promote team `. Names and patterns
    contain none of space, comma, colon and plus. The value is NULL if there are no grants.

    Args:
        principal_id: A column of the query around it, or a value.
    """
    itself = _outer(principal_id)
    groups = sa.select(group_members.c.group_id).where(group_members.c.member_id == itself)
    # A union finds all by the index of grants; PostgreSQL would walk the table for an OR.
    holders = sa.union_all(sa.select(itself.label("id")), groups).subquery("holders")
    return _select_held(holders.join(grants, grants.c.principal_id == holders.c.id))


def _outer(column: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    """Name a column of the query around without its table, which is that query's and no subquery's."""
    if not isinstance(column, sa.Column):
        return column
    return sa.literal_column(f"{column.table.name}.{column.name}", sa.BigInteger)


def held_directly(principal_id: sa.ColumnElement[int]) -> sa.ScalarSelect[str]:
    """Return a subquery for what a principal, or a group, holds itself, in the format of `held_by`."""
    return _select_held(grants, grants.c.principal_id == principal_id)


def _select_held(holding: sa.FromClause, *conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[str]:
    rights = sa.func.coalesce(":" + roles.c.rights, "")
    words = grants.c.role + rights + " " + sa.func.coalesce(namespaces.c.name, "") + " " + grants.c.pattern
    return (
        sa.select(joined(words))
        .select_from(holding)
        .outerjoin(namespaces, namespaces.c.id == grants.c.namespace_id)
        .outerjoin(roles, roles.c.id == grants.c.role_id)
        .where(grants.c.ended_at.is_(None), *conditions)
        .scalar_subquery()
    )


def behind(principal_id: sa.ColumnElement[int]) -> sa.ScalarSelect[str]:
    """Return a subquery for the names of who stands behind a principal now, joined by commas; NULL if nobody does."""
    person = principals.alias("person")
    return (
        sa.select(joined(person.c.name))
        .select_from(stand_ins)
        .join(person, person.c.id == stand_ins.c.person_id)
        .where(stand_ins.c.principal_id == principal_id, stand_ins.c.ended_at.is_(None))
        .scalar_subquery()
    )


def names_behind(conn: sa.Connection, principal_id: int) -> str | None:
    """Return the names of who stands behind a principal now, as `behind` joins them."""
    return conn.execute(sa.select(behind(sa.literal(principal_id)))).scalar()


def holdings_of(conn: sa.Connection, principal_id: int) -> str:
    """Return a principal's grants in the format of `held_by`; empty if there are none or it is disabled."""
    is_enabled = sa.and_(principals.c.id == principal_id, principals.c.disabled_at.is_(None))
    query = sa.select(held_by(sa.literal(principal_id))).where(sa.exists().where(is_enabled))
    return conn.execute(query).scalar() or ""


def held_itself(conn: sa.Connection, principal_id: int) -> str:
    """Return what a principal, or a group, holds without the groups that it is in; as `held_by` formats it."""
    query = sa.select(held_directly(sa.literal(principal_id)))
    return conn.execute(query).scalar() or ""


def add_grant(
    conn: sa.Connection,
    principal_id: int,
    *,
    role: str,
    namespace_id: int | None,
    pattern: str = "",
    created_by: int | None,
    role_id: int | None = None,
) -> bool:
    """Grant a role; return False if the principal holds it there already.

    Args:
        conn: The transaction.
        principal_id: Whose role it is: somebody who acts, or a group.
        role: The name of the role.
        namespace_id: Where; None for everywhere.
        pattern: Which lines or channels of the namespace; empty for all.
        created_by: Who gives it.
        role_id: The role of one's own; None for a built-in one.
    """
    values = {
        "principal_id": principal_id,
        "role": role,
        "role_id": role_id,
        "namespace_id": namespace_id,
        "pattern": pattern,
        "created_by": created_by,
    }
    try:
        with conn.begin_nested():
            conn.execute(sa.insert(grants).values(values))
    except IntegrityError:
        return False
    return True


def end_grant(conn: sa.Connection, grant_id: int, *, ended_by: int) -> bool:
    """End a grant; return False if it had ended before."""
    update = (
        sa.update(grants)
        .where(grants.c.id == grant_id, grants.c.ended_at.is_(None))
        .values(ended_at=now_us(), ended_by=ended_by)
    )
    return conn.execute(update).rowcount == 1


def grant_row(conn: sa.Connection, grant_id: int) -> GrantRow | None:
    """Find a grant that has not ended."""
    return fetch_one(conn, _select_grants().where(grants.c.id == grant_id), GrantRow)


def grant_rows(
    conn: sa.Connection,
    *,
    namespace_id: int | None = None,
    everywhere: bool = False,
    principal_id: int | None = None,
    role: str | None = None,
    role_id: int | None = None,
    holders: Collection[int] | None = None,
    after: int | None = None,
    limit: int | None = None,
) -> Sequence[GrantRow]:
    """List grants that have not ended, in the order in which they were given.

    With `namespace_id` those of one namespace, with `everywhere` those that apply everywhere, with
    both the union of the two; with neither, all of them. With `holders`, only those of some principals.
    """
    query = _select_grants().order_by(grants.c.id)
    places: list[sa.ColumnElement[bool]] = []
    if namespace_id is not None:
        places.append(grants.c.namespace_id == namespace_id)
    if everywhere:
        places.append(grants.c.namespace_id.is_(None))
    if places:
        query = query.where(sa.or_(*places))
    filters = (grants.c.principal_id, principal_id), (grants.c.role, role), (grants.c.role_id, role_id)
    query = query.where(*(column == value for column, value in filters if value is not None))
    if holders is not None:
        query = query.where(grants.c.principal_id.in_(sorted(holders)))
    if after is not None:
        query = query.where(grants.c.id > after)
    return fetch_all(conn, query if limit is None else query.limit(limit), GrantRow)


def count_legacy(conn: sa.Connection) -> tuple[int, int]:
    """Count the legacy grants that have not ended, and the principals that have one."""
    columns = sa.func.count(), sa.func.count(sa.distinct(grants.c.principal_id))
    query = sa.select(*columns).where(grants.c.is_legacy.is_(True), grants.c.ended_at.is_(None))
    number, people = conn.execute(query).one()
    return number, people


def lock_keepers(conn: sa.Connection, namespace_id: int | None, role: str) -> int:
    """Count who holds a role in a namespace, or everywhere, and lock the grants that give it.

    Members of a group hold what the group holds; an empty group and whoever is disabled keep nothing.
    """
    place = grants.c.namespace_id.is_(None) if namespace_id is None else grants.c.namespace_id == namespace_id
    is_held = sa.and_(place, grants.c.role == role, grants.c.role_id.is_(None), grants.c.ended_at.is_(None))
    conn.execute(sa.select(grants.c.id).where(is_held).order_by(grants.c.id).with_for_update()).all()
    holders = sa.select(grants.c.principal_id.label("id")).where(is_held)
    members = sa.select(group_members.c.member_id).join(grants, grants.c.principal_id == group_members.c.group_id)
    keepers = sa.union(holders, members.where(is_held)).subquery("keepers")
    query = (
        sa.select(sa.func.count())
        .select_from(keepers.join(principals, principals.c.id == keepers.c.id))
        .where(principals.c.kind != "group", principals.c.disabled_at.is_(None))
    )
    return int(conn.execute(query).scalar_one())


def people_of(conn: sa.Connection, principal_ids: Iterable[int], *, now: bool = False) -> dict[int, frozenset[int]]:
    """Return all persons behind each principal: the principal itself unless others are recorded.

    Of what was done, everybody counts who ever stood behind who did it: nobody becomes two people by
    handing an account over. Of who acts now, with `now`, those count who stand behind it now.
    """
    ids = sorted(set(principal_ids))
    query = sa.select(stand_ins.c.principal_id, stand_ins.c.person_id).where(stand_ins.c.principal_id.in_(ids))
    people: dict[int, set[int]] = {}
    for row in conn.execute(query.where(stand_ins.c.ended_at.is_(None)) if now else query):
        people.setdefault(row[0], set()).add(row[1])
    return {each: frozenset(people.get(each, {each})) for each in ids}


def same_person(conn: sa.Connection, acted: Iterable[int], *, acts: int) -> set[int]:
    """Return those of some principals whose work a person did who stands behind another one now.

    Args:
        conn: A transaction.
        acted: The principals that did something before.
        acts: The principal that acts now.
    """
    before, now = people_of(conn, acted), people_of(conn, [acts], now=True)[acts]
    return {each for each, people in before.items() if each == acts or people & now}


def principals_beside(conn: sa.Connection, principal_id: int) -> set[int]:
    """Return all principals that are one person with another: itself, who stands behind it, and theirs."""
    people = people_of(conn, [principal_id], now=True)[principal_id] | {principal_id}
    query = sa.select(stand_ins.c.principal_id).where(stand_ins.c.person_id.in_(people))
    return {principal_id, *people, *conn.execute(query).scalars()}


def not_proven_by(conn: sa.Connection, principal_id: int) -> set[int]:
    """Return the principals whose claims a worker does not prove: all that are one person with it.

    As long as nobody but one person has ever been known, that person has nobody to deceive, and the
    worker leaves out itself alone.
    """
    people = sa.select(principals.c.id).where(principals.c.kind == "user").limit(2)
    if len(conn.execute(people).all()) < 2:
        return {principal_id}
    return principals_beside(conn, principal_id)


def _select_grants() -> sa.Select[*tuple[Any, ...]]:
    giver = principals.alias("giver")
    holder = _outer(grants.c.principal_id)
    members = sa.select(group_members.c.member_id).where(group_members.c.group_id == holder)
    users = sa.union_all(sa.select(holder.label("id")), members).subquery("users")
    last_used = (
        sa.select(sa.func.max(tokens.c.last_used_at))
        .select_from(users.join(tokens, tokens.c.principal_id == users.c.id))
        .scalar_subquery()
    )
    return (
        sa.select(
            grants.c.id,
            grants.c.principal_id,
            principals.c.name.label("principal"),
            principals.c.kind,
            behind(grants.c.principal_id).label("person"),
            namespaces.c.name.label("namespace"),
            grants.c.role,
            grants.c.pattern,
            grants.c.is_legacy,
            grants.c.created_at,
            giver.c.name.label("created_by"),
            last_used.label("last_used_at"),
            grants.c.role_id,
            roles.c.rights.label("own_rights"),
        )
        .join(principals, principals.c.id == grants.c.principal_id)
        .outerjoin(namespaces, namespaces.c.id == grants.c.namespace_id)
        .outerjoin(giver, giver.c.id == grants.c.created_by)
        .outerjoin(roles, roles.c.id == grants.c.role_id)
        .where(grants.c.ended_at.is_(None))
    )


def owners_of(conn: sa.Connection, namespace_ids: Sequence[int]) -> dict[int, list[str]]:
    """List the owners of namespaces by name, keyed by namespace id."""
    query = (
        sa.select(grants.c.namespace_id, principals.c.name)
        .join(principals, principals.c.id == grants.c.principal_id)
        .where(grants.c.namespace_id.in_(list(namespace_ids)), grants.c.role == "owner", grants.c.ended_at.is_(None))
        .order_by(principals.c.name)
    )
    owners: dict[int, list[str]] = {}
    for row in conn.execute(query):
        owners.setdefault(row[0], []).append(row[1])
    return owners
