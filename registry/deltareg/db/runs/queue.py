"""The queue as people and autoscalers see it: running and waiting runs, their places, and depth."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import sqlalchemy as sa

from deltareg.db.access.in_sight import in_sight
from deltareg.db.access.sight import VisibleLines
from deltareg.db.runs.rows import DepthRow, QueuedRunRow
from deltareg.db.runs.runs import select_runs
from deltareg.db.runs.turns import EXPIRED, ORDER, WAITS, next_in_line, places
from deltareg.db.runs.worker_rows import BusyWorkerRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.tables import bases, deltas, namespaces, runs, versions, workers
from deltareg.db.tables.runs import ACTIVE


def queue_rows(
    conn: sa.Connection,
    *,
    version_id: int | None = None,
    sight: VisibleLines | None = None,
    offset: int = 0,
    limit: int = 50,
) -> Sequence[QueuedRunRow]:
    """List active runs: those under a lease, then those that wait, next first, with their `place`."""
    if version_id is None and sight is None:
        return _next_rows(conn, offset=offset, limit=limit)
    standing = places()
    query = (
        in_sight(select_runs(), sight)
        .outerjoin(standing, standing.c.id == runs.c.id)
        .add_columns(standing.c.place)
        .where(ACTIVE)
        .order_by(sa.func.coalesce(standing.c.place, 0), *ORDER)
    )
    if version_id is not None:
        query = query.where(runs.c.version_id == version_id)
    return fetch_all(conn, query.offset(offset).limit(limit), QueuedRunRow)


def labels_waiting(conn: sa.Connection) -> list[str]:
    """List the labels, as JSON text, of the runs that wait, each once."""
    return list(conn.execute(sa.select(sa.cast(runs.c.labels, sa.Text)).where(ACTIVE, WAITS).distinct()).scalars())


def _next_rows(conn: sa.Connection, *, offset: int, limit: int) -> Sequence[QueuedRunRow]:
    """List as `queue_rows` does, of the whole queue: it reads no more of it than it lists."""
    held = sa.select(runs.c.id).where(runs.c.state == sa.literal_column("'running'"), ~EXPIRED).order_by(*ORDER)
    order: list[tuple[str, int | None]] = [(run_id, None) for run_id in conn.execute(held).scalars()]
    waiting = next_in_line(conn, limit=max(0, offset + limit - len(order)))
    order += [(run_id, place) for place, run_id in enumerate(waiting, 1)]
    listed = dict(order[offset : offset + limit])
    query = select_runs().add_columns(sa.null().label("place")).where(runs.c.id.in_(listed))
    rows = {row.id: row for row in fetch_all(conn, query, QueuedRunRow)}
    return [replace(rows[run_id], place=place) for run_id, place in listed.items()]


def queue_depth(conn: sa.Connection) -> Sequence[DepthRow]:
    """Count active runs: rows of (what, labels, priority, waiting, running, oldest_us), labels as JSON text.

    `oldest_us` is the age of the oldest waiting run. A run whose lease has expired counts as
    waiting.
    """
    labels = sa.cast(runs.c.labels, sa.Text)
    query = (
        sa.select(
            runs.c.what,
            labels.label("labels"),
            runs.c.priority,
            sa.func.count().filter(WAITS).label("waiting"),
            sa.func.count().filter(~WAITS).label("running"),
            sa.func.max(sa.case((WAITS, now_us() - runs.c.created_at), else_=0)).label("oldest_us"),
        )
        .where(ACTIVE)
        .group_by(runs.c.what, labels, runs.c.priority)
        .order_by(runs.c.what, labels, runs.c.priority)
    )
    return fetch_all(conn, query, DepthRow)


def worker_rows(conn: sa.Connection, *, seen_within_us: int) -> Sequence[BusyWorkerRow]:
    """List workers by name, with `age_us` since they asked for work, and the run that each holds.

    It lists workers that asked within the given time and those that hold a lease, as a busy worker
    does not ask.
    """
    age = now_us() - workers.c.last_seen_at
    is_held = sa.and_(ACTIVE, runs.c.state == "running", ~EXPIRED)
    holds_run = sa.and_(runs.c.lease_holder == workers.c.name, is_held)
    query = (
        sa.select(
            workers.c.name,
            workers.c.principal_id,
            workers.c.labels,
            workers.c.last_seen_at,
            age.label("age_us"),
            workers.c.knows_digest,
            workers.c.unknown,
            runs.c.id.label("run_id"),
            runs.c.what,
            namespaces.c.name.label("namespace"),
            deltas.c.name.label("line"),
            versions.c.number,
        )
        .select_from(workers)
        .outerjoin(runs, holds_run)
        .outerjoin(versions, versions.c.id == runs.c.version_id)
        .outerjoin(deltas, deltas.c.id == versions.c.delta_id)
        .outerjoin(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .where(sa.or_(age < seen_within_us, runs.c.id.is_not(None)))
        .order_by(workers.c.name, runs.c.fence.desc())
    )
    return fetch_all(conn, query, BusyWorkerRow)


def senders_of(conn: sa.Connection, run_ids: Collection[str]) -> dict[str, int | None]:
    """Return who sent the bytes that runs are about, by run; forms of a version are left out."""
    sender = sa.func.coalesce(versions.c.stored_by, versions.c.created_by, bases.c.stored_by, bases.c.created_by)
    query = (
        sa.select(runs.c.id, sender)
        .outerjoin(versions, versions.c.id == runs.c.version_id)
        .outerjoin(bases, bases.c.id == runs.c.base_id)
        .where(runs.c.id.in_(run_ids), runs.c.request["form"].as_string().is_(None))
    )
    return {row[0]: row[1] for row in conn.execute(query)}
