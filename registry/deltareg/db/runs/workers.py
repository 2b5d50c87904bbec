"""Workers: who asked for work, with which labels, and when."""

from collections.abc import Collection, Mapping, Sequence

import sqlalchemy as sa

from deltareg.db.runs.worker_rows import KnowledgeRow, PoolWorkerRow, WorkerRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.sql.upsert import insert
from deltareg.db.tables import workers

_MOST_UNKNOWN = 500
_SEEN = [column for column in workers.c if column.name != "knows"]


def worker_row(conn: sa.Connection, name: str) -> WorkerRow | None:
    """Find a worker; `age_us` is the time since it was seen."""
    query = sa.select(*_SEEN, (now_us() - workers.c.last_seen_at).label("age_us"))
    return fetch_one(conn, query.where(workers.c.name == name), WorkerRow)


def worker_rows(conn: sa.Connection) -> Sequence[WorkerRow]:
    """List all workers by name; `age_us` is the time since each was seen."""
    query = sa.select(*_SEEN, (now_us() - workers.c.last_seen_at).label("age_us"))
    return fetch_all(conn, query.order_by(workers.c.name), WorkerRow)


def pool_workers(conn: sa.Connection, *, label: str, seen_within_us: int) -> Sequence[PoolWorkerRow]:
    """List the workers of pools that were seen within a time, the last seen first.

    Args:
        conn: The connection.
        label: The label whose value is the pool.
        seen_within_us: The time, microseconds.
    """
    age, pool = now_us() - workers.c.last_seen_at, workers.c.labels[label].as_string()
    shown = (workers.c.name, pool.label("pool"), age.label("age_us"), workers.c.knows_digest, workers.c.unknown)
    query = sa.select(*shown).where(age < seen_within_us, pool.is_not(None))
    return fetch_all(conn, query.order_by(workers.c.last_seen_at.desc(), workers.c.name), PoolWorkerRow)


def see_worker(
    conn: sa.Connection,
    name: str,
    *,
    principal_id: int,
    labels: Mapping[str, str],
    knows: Sequence[str] | None = None,
    knows_digest: str | None = None,
    is_same: bool = False,
) -> bool:
    """Record that a worker asked for work; return False if another principal has the name.

    What it has shown not to know is forgotten unless it `is_same` as before.
    """
    told = {
        "labels": dict(labels),
        "knows": None if knows is None else list(knows),
        "knows_digest": knows_digest,
        "last_seen_at": now_us(),
    }
    added = insert(conn, workers).values(name=name, principal_id=principal_id, **told)
    changed = {column: added.excluded[column] for column in told} | ({} if is_same else {"unknown": None})
    upsert = added.on_conflict_do_update(
        index_elements=["name"], set_=changed, where=workers.c.principal_id == principal_id
    )
    return conn.execute(upsert.returning(workers.c.id)).first() is not None


def note_unknown(conn: sa.Connection, name: str, words: Collection[str]) -> None:
    """Record what a worker has shown not to know, the newest last."""
    query = sa.select(workers.c.unknown).where(workers.c.name == name).with_for_update()
    known_before = [word for word in conn.execute(query).scalar() or () if word not in words]
    update = sa.update(workers).where(workers.c.name == name)
    conn.execute(update.values(unknown=[*known_before, *words][-_MOST_UNKNOWN:]))


def knowledge_rows(conn: sa.Connection, names: Collection[str]) -> Sequence[KnowledgeRow]:
    """Return what some workers know, and have shown not to know."""
    query = sa.select(workers.c.name, workers.c.knows, workers.c.unknown).where(workers.c.name.in_(names))
    return fetch_all(conn, query, KnowledgeRow)


def lose_worker(conn: sa.Connection, name: str, *, principal_id: int, unseen_us: int) -> None:
    """Record that a worker has gone, as if it had not been seen for `unseen_us`."""
    is_it = sa.and_(workers.c.name == name, workers.c.principal_id == principal_id)
    conn.execute(sa.update(workers).where(is_it).values(last_seen_at=now_us() - unseen_us))
