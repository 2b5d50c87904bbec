"""The queue as people and autoscalers see it: running and waiting runs, their places, and depth."""

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from deltareg.db.access.in_sight import in_sight
from deltareg.db.access.sight import VisibleLines
from deltareg.db.runs.rows import DepthRow, QueuedRunRow, ShownRunRow
from deltareg.db.runs.runs import EXPIRED, ORDER, select_runs
from deltareg.db.runs.worker_rows import BusyWorkerRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.tables import bases, deltas, namespaces, runs, versions, workers
from deltareg.db.tables.runs import ACTIVE

_WAITS = sa.or_(runs.c.state == "queued", EXPIRED)


def queue_rows(
    conn: sa.Connection,
    *,
    version_id: int | None = None,
    sight: VisibleLines | None = None,
    offset: int = 0,
    limit: int = 50,
) -> Sequence[QueuedRunRow]:
    """List active runs: those under a lease, then those that wait (`waits`), next first."""
    query = (
        in_sight(select_runs(), sight)
        .add_columns(_WAITS.label("waits"))
        .where(ACTIVE)
        .order_by(sa.case((_WAITS, 1), else_=0), *ORDER)
    )
    if version_id is not None:
        query = query.where(runs.c.version_id == version_id)
    return fetch_all(conn, query.offset(offset).limit(limit), QueuedRunRow)


def place_of(conn: sa.Connection, run: ShownRunRow) -> int:
    """Count the runs that a worker of all kinds would get before a waiting one."""
    key = (run.turn, run.created_at, run.id)
    ahead = sa.or_(
        runs.c.priority > run.priority,
        sa.and_(runs.c.priority == run.priority, sa.tuple_(runs.c.turn, runs.c.created_at, runs.c.id) < key),
    )
    return conn.execute(sa.select(sa.func.count()).where(ACTIVE, _WAITS, ahead)).scalar_one()


def places_of(conn: sa.Connection, run_ids: Sequence[str]) -> dict[str, int]:
    """Return the places of waiting runs in the queue, from 1, in one walk over it."""
    place = sa.func.row_number().over(order_by=ORDER)
    waiting = sa.select(runs.c.id, place.label("place")).where(ACTIVE, _WAITS).subquery("waiting")
    query = sa.select(waiting.c.id, waiting.c.place).where(waiting.c.id.in_(run_ids))
    return {row[0]: row[1] for row in conn.execute(query)}


def queue_depth(conn: sa.Connection) -> Sequence[DepthRow]:
    """Count active runs: rows of (what, labels, waiting, running, oldest_us), labels as JSON text.

    `oldest_us` is the age of the oldest waiting run. A run whose lease has expired counts as
    waiting.
    """
    labels = sa.cast(runs.c.labels, sa.Text)
    query = (
        sa.select(
            runs.c.what,
            labels.label("labels"),
            sa.func.count().filter(_WAITS).label("waiting"),
            sa.func.count().filter(~_WAITS).label("running"),
            sa.func.max(sa.case((_WAITS, now_us() - runs.c.created_at), else_=0)).label("oldest_us"),
        )
        .where(ACTIVE)
        .group_by(runs.c.what, labels)
        .order_by(runs.c.what, labels)
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
