"""Who pulled which version, when last, and in how many hours."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.sql.clock import US_PER_S, now_us
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.upsert import batches, insert
from deltareg.db.tables import principals, pulls, versions

APART_US = 55 * 60 * US_PER_S
"""Pulls of one principal that are nearer to each other count as one."""


@dataclass(frozen=True, slots=True)
class PullRow:
    """What one principal pulled of a version; `principal` is None for those without a token."""

    principal: str | None
    number: int
    last_at: int


def add_pulls(conn: sa.Connection, pulled: Collection[tuple[int, int]]) -> None:
    """Count a pull for each (version, principal), and remember its time.

    Pulls that another server has counted within the hour, and versions that are gone, are left out.
    """
    known: set[int] = set()
    for part in batches(sorted({version_id for version_id, _ in pulled})):
        known |= set(conn.execute(sa.select(versions.c.id).where(versions.c.id.in_(part))).scalars())
    for version_id, principal_id in sorted(pulled):  # sorted: two servers lock in one order
        if version_id not in known:
            continue
        added = insert(conn, pulls).values(version_id=version_id, principal_id=principal_id, number=1, last_at=now_us())
        conn.execute(
            added.on_conflict_do_update(
                index_elements=[pulls.c.version_id, pulls.c.principal_id],
                set_={"number": pulls.c.number + 1, "last_at": added.excluded.last_at},
                where=pulls.c.last_at <= added.excluded.last_at - APART_US,
            )
        )


def pulls_of(conn: sa.Connection, version_id: int) -> Sequence[PullRow]:
    """List who pulled a version, the last one first."""
    query = (
        sa.select(principals.c.name.label("principal"), pulls.c.number, pulls.c.last_at)
        .select_from(pulls)
        .outerjoin(principals, principals.c.id == pulls.c.principal_id)
        .where(pulls.c.version_id == version_id)
        .order_by(pulls.c.last_at.desc(), pulls.c.principal_id)
    )
    return fetch_all(conn, query, PullRow)
