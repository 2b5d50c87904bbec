"""The limits of holders: scopes (`ns:team`, `bases`), principals (`by:12`), or `ns:` and `by:` for all others."""

from collections.abc import Collection, Mapping, Sequence

import sqlalchemy as sa

from deltareg.db.quotas.rows import LimitRow
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.tables import principals, quotas, stand_ins

EACH_NAMESPACE, EACH_PERSON = "ns:", "by:"


def limit_rows(conn: sa.Connection, holders: Collection[str] | None = None) -> Sequence[LimitRow]:
    """Return the limits of some holders, or all that are set."""
    query = sa.select(quotas).order_by(quotas.c.holder, quotas.c.resource)
    if holders is not None:
        query = query.where(quotas.c.holder.in_(sorted(holders)))
    return fetch_all(conn, query, LimitRow)


def replace_limits(conn: sa.Connection, holder: str, limits: Mapping[str, int | None]) -> None:
    """Let a holder have these limits and no others."""
    conn.execute(sa.delete(quotas).where(quotas.c.holder == holder))
    rows = [{"holder": holder, "resource": name, "most": most} for name, most in sorted(limits.items())]
    if rows:
        conn.execute(sa.insert(quotas), rows)


def person_behind(conn: sa.Connection, principal_id: int) -> int:
    """Return the person who stands behind a principal; itself where there is no other."""
    query = sa.select(stand_ins.c.person_id).where(stand_ins.c.principal_id == principal_id)
    person = conn.execute(query).scalar()
    return principal_id if person is None else int(person)


def principals_of(conn: sa.Connection, person_id: int) -> list[int]:
    """Return a person and the principals that they alone stand behind."""
    query = sa.select(stand_ins.c.principal_id).where(stand_ins.c.person_id == person_id)
    return sorted({person_id, *conn.execute(query).scalars()})


def stand_ins_of(conn: sa.Connection, principal_ids: Collection[int]) -> list[tuple[int, int]]:
    """List (principal, person) pairs in which one of the two is among some principals."""
    ids = sorted(principal_ids)
    is_either = sa.or_(stand_ins.c.principal_id.in_(ids), stand_ins.c.person_id.in_(ids))
    query = sa.select(stand_ins.c.principal_id, stand_ins.c.person_id).where(is_either).order_by(stand_ins.c.id)
    return [(row.principal_id, row.person_id) for row in conn.execute(query)]


def is_worker(conn: sa.Connection, principal_id: int) -> bool:
    """Whether a principal is a worker."""
    query = sa.select(principals.c.kind).where(principals.c.id == principal_id)
    return conn.execute(query).scalar() == "worker"
