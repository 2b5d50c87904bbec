"""The log over the audit trail: what waits, what is sealed, and the hashes that proofs are made of.

Each query goes by a primary key or from one on, so that none grows with the log but those that
read all of it, page by page.
"""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from deltareg.db.access.rows import AuditRecordRow
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.sql.upsert import batches, insert
from deltareg.db.tables import audit, log_checkpoints, log_leaves, log_nodes, log_origins, log_statements, unsealed
from deltareg.db.trail.rows import CheckpointRow, LeafRow, StrayRow

_ONLY = 1
_LEVELS = 8  # more than 64 bits count


def origin_of_log(conn: sa.Connection, *, lock: bool = False) -> str | None:
    """Say which log it is; None before the first row is sealed.

    Args:
        conn: A transaction.
        lock: Let nobody else seal until it ends.
    """
    query = sa.select(log_origins.c.origin).where(log_origins.c.id == _ONLY)
    return conn.execute(query.with_for_update() if lock else query).scalar()


def name_log(conn: sa.Connection, origin: str) -> bool:
    """Name the log; False where it has a name."""
    added = insert(conn, log_origins).values(id=_ONLY, origin=origin)
    named = added.on_conflict_do_nothing(index_elements=["id"]).returning(log_origins.c.id)
    return conn.execute(named).scalar() is not None


def waiting_rows(conn: sa.Connection, *, limit: int) -> Sequence[AuditRecordRow]:
    """Give the first rows that wait to be sealed."""
    query = (
        sa.select(audit)
        .join(unsealed, unsealed.c.audit_id == audit.c.id)
        .outerjoin(log_leaves, log_leaves.c.audit_id == audit.c.id)
        .where(log_leaves.c.position.is_(None))  # whoever writes the table by hand
    )
    return fetch_all(conn, query.order_by(unsealed.c.audit_id).limit(limit), AuditRecordRow)


def count_waiting(conn: sa.Connection, *, most: int) -> int:
    """Count the rows that wait to be sealed, up to so many."""
    some = sa.select(unsealed.c.audit_id).limit(most).subquery()
    return int(conn.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())


def log_size(conn: sa.Connection) -> int:
    """Count the leaves of the log, by the last of them."""
    last = conn.execute(sa.select(sa.func.max(log_leaves.c.position))).scalar()
    return 0 if last is None else int(last) + 1


def hashes_of(conn: sa.Connection, level: int, start: int, stop: int) -> list[bytes]:
    """Give hashes of a level from one number to another (exclusive), as far as they are there."""
    if level == 0:
        number, found = log_leaves.c.position, sa.select(log_leaves.c.hash)
    else:
        number = log_nodes.c.number
        found = sa.select(log_nodes.c.hash).where(log_nodes.c.level == level)
    query = found.where(number >= start, number < stop).order_by(number)
    return list(conn.execute(query).scalars())


def add_batch(
    conn: sa.Connection,
    *,
    leaves: Sequence[tuple[int, int, bytes]],
    nodes: Sequence[tuple[int, int, bytes]],
    statements: Iterable[tuple[int, bytes]],
    size: int,
    note: str,
) -> None:
    """Seal rows: append their leaves under a checkpoint, and let them wait no more.

    Args:
        conn: A transaction that holds the log.
        leaves: Position, row and hash of each.
        nodes: Level, number and hash of what is complete now.
        statements: What was signed about rows, by row.
        size: How many leaves there are after it.
        note: The checkpoint.
    """
    conn.execute(sa.insert(log_checkpoints).values(size=size, note=note))
    for part in batches(leaves):
        conn.execute(
            sa.insert(log_leaves),
            [
                {"position": position, "audit_id": row, "hash": found, "sealed_by": size}
                for position, row, found in part
            ],
        )
        sealed = [row for _, row, _ in part]
        conn.execute(sa.delete(unsealed).where(unsealed.c.audit_id.in_(sealed)))
    kept = [{"level": level, "number": number, "hash": found} for level, number, found in nodes]
    signed = [{"audit_id": row, "body": body} for row, body in statements]
    for table, values in ((log_nodes, kept), (log_statements, signed)):
        if values:
            conn.execute(sa.insert(table), values)


def newest_checkpoint(conn: sa.Connection) -> CheckpointRow | None:
    """Find the checkpoint over most leaves."""
    query = sa.select(log_checkpoints).order_by(log_checkpoints.c.size.desc()).limit(1)
    return fetch_one(conn, query, CheckpointRow)


def checkpoints_after(conn: sa.Connection, size: int, *, until: int, limit: int) -> Sequence[CheckpointRow]:
    """List checkpoints over more than so many leaves and at most so many, the smallest first."""
    over = log_checkpoints.c.size
    query = sa.select(log_checkpoints).where(over > size, over <= until)
    return fetch_all(conn, query.order_by(over).limit(limit), CheckpointRow)


def leaves_after(conn: sa.Connection, position: int, *, limit: int) -> Sequence[LeafRow]:
    """List leaves behind a position with their rows, those too whose row is gone."""
    return fetch_all(
        conn, _leaves().where(log_leaves.c.position > position).order_by(log_leaves.c.position).limit(limit), LeafRow
    )


def leaf_of_row(conn: sa.Connection, audit_id: int) -> LeafRow | None:
    """Find the leaf of a row of the audit trail."""
    return fetch_one(conn, _leaves().where(log_leaves.c.audit_id == audit_id), LeafRow)


def nodes_below(conn: sa.Connection, *, after: int, until: int) -> list[tuple[int, int, bytes]]:
    """Give the nodes that were complete with one of the leaves from one to another (exclusive)."""
    found: list[tuple[int, int, bytes]] = []
    level, start, stop = 1, after >> 8, until >> 8
    while stop > start and level < _LEVELS:
        number = log_nodes.c.number
        within = sa.and_(log_nodes.c.level == level, number >= start, number < stop)
        query = sa.select(number, log_nodes.c.hash).where(within).order_by(number)
        found += [(level, row.number, row.hash) for row in conn.execute(query)]
        level, start, stop = level + 1, start >> 8, stop >> 8
    return found


def strays_after(conn: sa.Connection, audit_id: int, *, limit: int) -> Sequence[StrayRow]:
    """List rows of the audit trail behind one that are not in the log."""
    waits = unsealed.c.audit_id.is_not(None).label("is_waiting")
    query = (
        sa.select(audit, waits)
        .outerjoin(log_leaves, log_leaves.c.audit_id == audit.c.id)
        .outerjoin(unsealed, unsealed.c.audit_id == audit.c.id)
        .where(log_leaves.c.position.is_(None), audit.c.id > audit_id)
        .order_by(audit.c.id)
        .limit(limit)
    )
    return fetch_all(conn, query, StrayRow)


def _leaves() -> sa.Select[*tuple[object, ...]]:
    return (
        sa.select(log_leaves, audit, log_statements.c.body.label("statement"))
        .select_from(log_leaves)
        .outerjoin(audit, audit.c.id == log_leaves.c.audit_id)
        .outerjoin(log_statements, log_statements.c.audit_id == log_leaves.c.audit_id)
    )
