"""The outbox: events that wait to be told, or to be too old for that.

On PostgreSQL a row may be committed after one with a higher id. So whoever tells events takes rows
out, under a lock, and does not remember the last id that it saw.
"""

import sqlalchemy as sa

from deltareg.db.tables import outbox


def add_event(
    conn: sa.Connection, audit_id: int, *, namespace: str | None, line: str | None
) -> None:
    """Let an audit row be told, in the transaction that appends it."""
    conn.execute(sa.insert(outbox).values(audit_id=audit_id, namespace=namespace, line=line))


def oldest_event(conn: sa.Connection) -> int | None:
    """Say when the event that has waited longest was written; None when none waits."""
    first = sa.select(outbox.c.created_at).order_by(outbox.c.id).limit(1)
    return conn.execute(first).scalar()


def drop_events(conn: sa.Connection, *, before: int, limit: int) -> int:
    """Delete up to so many of the oldest events, if they are from before a time; say how many.

    Rows that another transaction has locked are left to it.
    """
    oldest = (
        sa.select(outbox.c.id, outbox.c.created_at)
        .order_by(outbox.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = [row.id for row in conn.execute(oldest) if row.created_at < before]
    if ids:
        conn.execute(sa.delete(outbox).where(outbox.c.id.in_(ids)))
    return len(ids)
