"""Who holds which role where, and which person stands behind a script's principal."""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from deltareg.db.access.rows import GrantRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.tables import grants, namespaces, principals, stand_ins, tokens


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
    """Return a subquery for a principal's grants, as `role namespace pattern` joined by commas.

    Names and patterns contain neither spaces nor commas. The value is NULL if there are no grants.
    """
    place = sa.func.coalesce(namespaces.c.name, "")
    words = grants.c.role + " " + place + " " + grants.c.pattern
    return (
        sa.select(joined(words))
        .select_from(grants)
        .outerjoin(namespaces, namespaces.c.id == grants.c.namespace_id)
        .where(grants.c.principal_id == principal_id, grants.c.ended_at.is_(None))
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


def add_grant(
    conn: sa.Connection,
    principal_id: int,
    *,
    role: str,
    namespace_id: int | None,
    pattern: str = "",
    created_by: int | None,
) -> bool:
    """Grant a role; return False if the principal holds it there already."""
    values = {
        "principal_id": principal_id,
        "role": role,
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


def ended_since(conn: sa.Connection, principal_id: int, *, since_us: int) -> bool:
    """Whether a role of a principal has been taken away since the given time, or all are: it is disabled."""
    ended = sa.select(grants.c.id).where(grants.c.principal_id == principal_id, grants.c.ended_at >= since_us)
    disabled = sa.select(principals.c.id).where(principals.c.id == principal_id, principals.c.disabled_at.is_not(None))
    return conn.execute(sa.select(sa.or_(ended.exists(), disabled.exists()))).scalar_one()


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
    after: int | None = None,
    limit: int | None = None,
) -> Sequence[GrantRow]:
    """List grants that have not ended, in the order in which they were given.

    With `namespace_id` those of one namespace, with `everywhere` those that apply everywhere, with
    both the union of the two; with neither, all of them.
    """
    query = _select_grants().order_by(grants.c.id)
    places: list[sa.ColumnElement[bool]] = []
    if namespace_id is not None:
        places.append(grants.c.namespace_id == namespace_id)
    if everywhere:
        places.append(grants.c.namespace_id.is_(None))
    if places:
        query = query.where(sa.or_(*places))
    if principal_id is not None:
        query = query.where(grants.c.principal_id == principal_id)
    if role is not None:
        query = query.where(grants.c.role == role)
    if after is not None:
        query = query.where(grants.c.id > after)
    return fetch_all(conn, query if limit is None else query.limit(limit), GrantRow)


def count_legacy(conn: sa.Connection) -> tuple[int, int]:
    """Count the legacy grants that have not ended, and the principals that have one."""
    columns = sa.func.count(), sa.func.count(sa.distinct(grants.c.principal_id))
    query = sa.select(*columns).where(grants.c.is_legacy.is_(True), grants.c.ended_at.is_(None))
    number, people = conn.execute(query).one()
    return number, people


def lock_holders(conn: sa.Connection, namespace_id: int | None, role: str) -> int:
    """Count the holders of a role in a namespace, or everywhere, who are not disabled; lock their grants."""
    place = grants.c.namespace_id.is_(None) if namespace_id is None else grants.c.namespace_id == namespace_id
    query = (
        sa.select(grants.c.principal_id)
        .join(principals, principals.c.id == grants.c.principal_id)
        .where(place, grants.c.role == role, grants.c.ended_at.is_(None), principals.c.disabled_at.is_(None))
        .order_by(grants.c.id)
        .with_for_update()
    )
    return len(set(conn.execute(query).scalars()))


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


def _select_grants() -> sa.Select[*tuple[Any, ...]]:
    giver = principals.alias("giver")
    last_used = (
        sa.select(sa.func.max(tokens.c.last_used_at))
        .where(tokens.c.principal_id == grants.c.principal_id)
        .correlate(grants)
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
        )
        .join(principals, principals.c.id == grants.c.principal_id)
        .outerjoin(namespaces, namespaces.c.id == grants.c.namespace_id)
        .outerjoin(giver, giver.c.id == grants.c.created_by)
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
