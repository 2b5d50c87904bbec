"""The log over the audit trail: waiting rows, leaves, and the hashes that proofs consist of.

Each query reads by primary key or from a position on, so none slows down as the log grows, except
those that read all of it page by page.
"""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from deltareg.db.access.rows import AuditRecordRow
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.sql.row_protocols import present
from deltareg.db.sql.upsert import batches, insert
from deltareg.db.tables import audit, log_checkpoints, log_leaves, log_nodes, log_origins, log_statements, unsealed
from deltareg.db.trail.rows import CheckpointRow, LeafRow, StrayRow

_ONLY = 1
_LEVELS = 8  # more than 64 bits count


def origin_of_log(conn: sa.Connection, *, lock: bool = False) -> str | None:
    """Return the origin of the log; None before the first row is sealed.

    Args:
        conn: A transaction.
        lock: Keep others from sealing until the transaction ends.
    """
    query = sa.select(log_origins.c.origin).where(log_origins.c.id == _ONLY)
    return conn.execute(query.with_for_update() if lock else query).scalar()


def name_log(conn: sa.Connection, origin: str) -> bool:
    """Set the origin of the log; return False if it has one."""
    added = insert(conn, log_origins).values(id=_ONLY, origin=origin)
    inserted = added.on_conflict_do_nothing(index_elements=["id"]).returning(log_origins.c.id)
    return conn.execute(inserted).scalar() is not None


def waiting_rows(conn: sa.Connection, *, limit: int) -> Sequence[AuditRecordRow]:
    """Return the first rows that wait to be sealed."""
    leaf = sa.exists().where(log_leaves.c.audit_id == unsealed.c.audit_id)  # whoever writes the table by hand
    first = sa.select(unsealed.c.audit_id).where(~leaf).order_by(unsealed.c.audit_id).limit(limit).subquery()
    query = sa.select(audit).join(first, first.c.audit_id == audit.c.id)
    return fetch_all(conn, query.order_by(audit.c.id), AuditRecordRow)


def waiting_row(conn: sa.Connection, audit_id: int) -> AuditRecordRow:
    """Return a row that was just added and waits to be sealed."""
    return present(fetch_one(conn, sa.select(audit).where(audit.c.id == audit_id), AuditRecordRow))


def count_waiting(conn: sa.Connection, *, most: int) -> int:
    """Count the rows that wait to be sealed, up to `most`."""
    some = sa.select(unsealed.c.audit_id).limit(most).subquery()
    return int(conn.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())


def log_size(conn: sa.Connection) -> int:
    """Return the number of leaves in the log."""
    last = conn.execute(sa.select(sa.func.max(log_leaves.c.position))).scalar()
    return 0 if last is None else int(last) + 1


def hashes_of(conn: sa.Connection, level: int, start: int, stop: int) -> list[bytes]:
    """Return the stored hashes of a level with numbers from `start` to `stop` (exclusive)."""
    if level == 0:
        number, hashes = log_leaves.c.position, sa.select(log_leaves.c.hash)
    else:
        number = log_nodes.c.number
        hashes = sa.select(log_nodes.c.hash).where(log_nodes.c.level == level)
    query = hashes.where(number >= start, number < stop).order_by(number)
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
    """Seal rows: append their leaves under a checkpoint, and remove the rows from the waiting ones.

    Args:
        conn: A transaction that has locked the log.
        leaves: Position, row and hash of each.
        nodes: Level, number and hash of the nodes that are complete now.
        statements: Signed statements about rows, by row.
        size: The number of leaves after it.
        note: The signed checkpoint.
    """
    conn.execute(sa.insert(log_checkpoints).values(size=size, note=note))
    for part in batches(leaves):
        conn.execute(
            sa.insert(log_leaves),
            [
                {"position": position, "audit_id": row, "hash": digest, "sealed_by": size}
                for position, row, digest in part
            ],
        )
        sealed = [row for _, row, _ in part]
        conn.execute(sa.delete(unsealed).where(unsealed.c.audit_id.in_(sealed)))
    node_rows = [{"level": level, "number": number, "hash": digest} for level, number, digest in nodes]
    statement_rows = [{"audit_id": row, "body": body} for row, body in statements]
    for table, values in ((log_nodes, node_rows), (log_statements, statement_rows)):
        if values:
            conn.execute(sa.insert(table), values)


def newest_checkpoint(conn: sa.Connection) -> CheckpointRow | None:
    """Find the checkpoint over the most leaves."""
    query = sa.select(log_checkpoints).order_by(log_checkpoints.c.size.desc()).limit(1)
    return fetch_one(conn, query, CheckpointRow)


def checkpoints_after(conn: sa.Connection, size: int, *, until: int, limit: int) -> Sequence[CheckpointRow]:
    """List checkpoints over more than `size` and at most `until` leaves, the smallest first."""
    over = log_checkpoints.c.size
    query = sa.select(log_checkpoints).where(over > size, over <= until)
    return fetch_all(conn, query.order_by(over).limit(limit), CheckpointRow)


def leaves_after(conn: sa.Connection, position: int, *, limit: int) -> Sequence[LeafRow]:
    """List the leaves after a position with their rows, including those whose row is gone."""
    return fetch_all(
        conn, _leaves().where(log_leaves.c.position > position).order_by(log_leaves.c.position).limit(limit), LeafRow
    )


def leaf_of_row(conn: sa.Connection, audit_id: int) -> LeafRow | None:
    """Find the leaf of a row of the audit trail."""
    return fetch_one(conn, _leaves().where(log_leaves.c.audit_id == audit_id), LeafRow)


def leaves_of_rows(conn: sa.Connection, audit_ids: Sequence[int]) -> Sequence[LeafRow]:
    """List the leaves of rows of the audit trail in the order of the rows; those without one are left out."""
    query = _leaves().where(log_leaves.c.audit_id.in_(audit_ids)).order_by(log_leaves.c.audit_id)
    return fetch_all(conn, query, LeafRow)


def nodes_below(conn: sa.Connection, *, after: int, until: int) -> list[tuple[int, int, bytes]]:
    """Return the nodes that leaves from `after` to `until` (exclusive) completed."""
    nodes: list[tuple[int, int, bytes]] = []
    level, start, stop = 1, after >> 8, until >> 8
    while stop > start and level < _LEVELS:
        number = log_nodes.c.number
        within = sa.and_(log_nodes.c.level == level, number >= start, number < stop)
        query = sa.select(number, log_nodes.c.hash).where(within).order_by(number)
        nodes += [(level, row.number, row.hash) for row in conn.execute(query)]
        level, start, stop = level + 1, start >> 8, stop >> 8
    return nodes


def strays_after(conn: sa.Connection, audit_id: int, *, limit: int) -> Sequence[StrayRow]:
    """List rows of the audit trail after a given one that are not in the log."""
    waits = unsealed.c.audit_id.is_not(None).label("is_waiting")
    query = (
        sa.select(audit, waits)
        .outerjoin(log_leaves, log_leaves.c.audit_id == audit.c.id)
        .outerjoin(unsealed, unsealed.c.audit_id == audit.c.id)
        .where(log_leaves.c.audit_id.is_(None), audit.c.id > audit_id)
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
