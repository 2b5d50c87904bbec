"""Locks by name, for rules about rows that may not exist yet."""

import sqlalchemy as sa


def lock_name(conn: sa.Connection, name: str) -> None:
    """Hold the lock of a name until the transaction ends; lock first, then look.

    A row that does not exist cannot be locked: the first limit of a quota, the next row of a
    history. On SQLite who writes is alone, and nothing is locked.

    Args:
        conn: A transaction that writes.
        name: What the rule is about; one word for all that may be changed together, as `quotas`.
    """
    if conn.dialect.name == "postgresql":
        key = sa.func.hashtextextended(f"deltareg/{name}", 0)
        conn.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
