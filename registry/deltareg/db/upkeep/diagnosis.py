"""What `server doctor` looks up: how long runs waited and worked, what came to nothing, whose uploads were slow."""

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from deltareg.db.runs.rows import ShownRunRow
from deltareg.db.runs.runs import select_runs
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.tables import runs, uploads, waiting_runs
from deltareg.db.tables.runs import IS_OF_RARE_STATE

_LOOKED_AT_MOST = 20_000


def longest_runs(conn: sa.Connection, *, since_us: int, limit: int) -> Sequence[ShownRunRow]:
    """List the runs asked for since a time that took longest from then to their end, longest first."""
    recent = sa.select(runs.c.id, (runs.c.finished_at - runs.c.created_at).label("took"))
    recent = recent.where(runs.c.created_at >= since_us, runs.c.finished_at.is_not(None), runs.c.state != "cancelled")
    some = recent.order_by(runs.c.created_at.desc()).limit(_LOOKED_AT_MOST).subquery()
    query = select_runs().join(some, some.c.id == runs.c.id).order_by(some.c.took.desc()).limit(limit)
    return fetch_all(conn, query, ShownRunRow)


def dead_runs(conn: sa.Connection, *, since_us: int, limit: int) -> Sequence[ShownRunRow]:
    """List the runs asked for since a time that were given up, newest first."""
    is_dead = sa.and_(IS_OF_RARE_STATE, runs.c.state == "dead", runs.c.created_at >= since_us)
    query = select_runs().where(is_dead).order_by(runs.c.created_at.desc(), runs.c.id.desc())
    return fetch_all(conn, query.limit(limit), ShownRunRow)


def count_held_up(conn: sa.Connection) -> int:
    """Count the verifications that wait until bytes that they read are pushed again."""
    return int(conn.execute(sa.select(sa.func.count()).select_from(waiting_runs)).scalar_one())


def targets_of(conn: sa.Connection, upload_ids: Collection[str]) -> dict[str, str]:
    """Return where uploads go, by upload; those that are forgotten are left out."""
    query = sa.select(uploads.c.id, uploads.c.target).where(uploads.c.id.in_(list(upload_ids)[:500]))
    return {row[0]: row[1] for row in conn.execute(query)}
