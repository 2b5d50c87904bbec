"""Workers: who asked for work, with which labels, and when."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from deltareg.db.runs.worker_rows import WorkerRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.sql.upsert import insert
from deltareg.db.tables import workers


def worker_row(conn: sa.Connection, name: str) -> WorkerRow | None:
    """Find a worker; `age_us` is the time since it was seen."""
    query = sa.select(workers, (now_us() - workers.c.last_seen_at).label("age_us"))
    return fetch_one(conn, query.where(workers.c.name == name), WorkerRow)


def worker_rows(conn: sa.Connection) -> Sequence[WorkerRow]:
    """List all workers by name; `age_us` is the time since each was seen."""
    query = sa.select(workers, (now_us() - workers.c.last_seen_at).label("age_us"))
    return fetch_all(conn, query.order_by(workers.c.name), WorkerRow)


def see_worker(conn: sa.Connection, name: str, *, principal_id: int, labels: Mapping[str, str]) -> bool:
    """Record that a worker asked for work; return False if another principal has the name."""
    added = insert(conn, workers).values(
        name=name, principal_id=principal_id, labels=dict(labels), last_seen_at=now_us()
    )
    upsert = added.on_conflict_do_update(
        index_elements=["name"],
        set_={"labels": added.excluded.labels, "last_seen_at": added.excluded.last_seen_at},
        where=workers.c.principal_id == principal_id,
    )
    return conn.execute(upsert.returning(workers.c.id)).first() is not None


def lose_worker(conn: sa.Connection, name: str, *, principal_id: int, unseen_us: int) -> None:
    """Record that a worker has gone, as if it had not been seen for `unseen_us`."""
    is_it = sa.and_(workers.c.name == name, workers.c.principal_id == principal_id)
    conn.execute(sa.update(workers).where(is_it).values(last_seen_at=now_us() - unseen_us))
