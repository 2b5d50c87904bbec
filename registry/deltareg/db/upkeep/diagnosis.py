"""What `server doctor` looks up: how long runs waited and worked, what came to nothing, whose uploads were slow."""

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from deltareg.db.runs.rows import ShownRunRow
from deltareg.db.runs.runs import select_runs
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.tables import deltas, namespaces, runs, uploads, versions, waiting_runs
from deltareg.db.tables.runs import IS_OF_RARE_STATE

_LOOKED_AT_MOST, _AT_ONCE = 20_000, 500


def longest_runs(conn: sa.Connection, *, since_us: int, limit: int, line: str = "") -> Sequence[ShownRunRow]:
    """List the runs asked for since a time that took longest from then to their end, longest first.

    Those that no worker ever took are left out: they were not needed any more.

    Args:
        conn: The connection.
        since_us: The time.
        limit: How many.
        line: Only those of versions of this line; empty for all.
    """
    recent = sa.select(runs.c.id, (runs.c.finished_at - runs.c.created_at).label("took"))
    recent = recent.where(runs.c.created_at >= since_us, runs.c.started_at.is_not(None))
    recent = recent.where(runs.c.finished_at.is_not(None), runs.c.state != "cancelled")
    if line:
        named = namespaces.c.name + "/" + deltas.c.name
        of_line = sa.select(versions.c.id).join(deltas, deltas.c.id == versions.c.delta_id)
        of_line = of_line.join(namespaces, namespaces.c.id == deltas.c.namespace_id).where(named == line)
        recent = recent.where(runs.c.version_id.in_(of_line))
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
    found: dict[str, str] = {}
    ids = list(upload_ids)
    for start in range(0, len(ids), _AT_ONCE):
        query = sa.select(uploads.c.id, uploads.c.target).where(uploads.c.id.in_(ids[start : start + _AT_ONCE]))
        found |= {row[0]: row[1] for row in conn.execute(query)}
    return found
