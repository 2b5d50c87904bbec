"""What a server tells of its registry: counts and ages that stay cheap however much history there is.

Each statement walks a partial index, an index from its newest end, or a table that has a row a namespace. None reads
a table that grows with pushes.
"""

from collections.abc import Mapping

import sqlalchemy as sa

from deltareg.db.sql.clock import now_us
from deltareg.db.tables import audit, deliveries, operations, quota_usage, runs, unsealed, verdicts
from deltareg.db.tables.runs import IS_OF_RARE_STATE

_PROOFS_WITHIN = 2_000
"""Among how many of the newest runs a proof is looked for: each push asks for one."""


def database_bytes(conn: sa.Connection) -> int:
    """Return how much room the database takes, bytes."""
    if conn.dialect.name == "postgresql":
        return int(conn.execute(sa.text("SELECT pg_database_size(current_database())")).scalar_one())
    pages = conn.exec_driver_sql("PRAGMA page_count").scalar_one()
    return int(pages) * int(conn.exec_driver_sql("PRAGMA page_size").scalar_one())


def count_stored(conn: sa.Connection) -> Mapping[str, int]:
    """Return bytes, versions and lines of all namespaces and the bases, as quotas count them."""
    sums = {name: sa.func.coalesce(sa.func.sum(quota_usage.c[name]), 0) for name in ("bytes", "versions", "lines")}
    row = conn.execute(sa.select(*sums.values()).where(~quota_usage.c.holder.like("by:%"))).one()
    return dict(zip(sums, map(int, row), strict=True))


def verdicts_within(conn: sa.Connection, us: int) -> Mapping[str, int]:
    """Count the verdicts of the last microseconds, by outcome."""
    recent = verdicts.c.created_at > _ago(us)
    query = sa.select(verdicts.c.verdict, sa.func.count()).where(recent).group_by(verdicts.c.verdict)
    return {row[0]: row[1] for row in conn.execute(query)}


def _ago(us: int) -> sa.ScalarSelect[int]:
    """Return a moment in the past: a value, asked for once, for PostgreSQL looks nothing up by a clock that goes on."""
    return sa.select(now_us() - us).scalar_subquery()


def dead_within(conn: sa.Connection, us: int) -> Mapping[str, int]:
    """Count the runs of the last microseconds that were given up, by kind."""
    is_dead = sa.and_(IS_OF_RARE_STATE, runs.c.state == sa.literal_column("'dead'"))
    query = sa.select(runs.c.what, sa.func.count()).where(is_dead, runs.c.created_at > _ago(us))
    return {row[0]: row[1] for row in conn.execute(query.group_by(runs.c.what))}


def newest_proof_us(conn: sa.Connection) -> int | None:
    """Return when the newest proof ended; None if there is none among the newest runs."""
    newest = sa.select(runs.c.what, runs.c.state, runs.c.finished_at)
    newest = newest.order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(_PROOFS_WITHIN)
    some = newest.subquery()
    proofs = sa.select(sa.func.max(some.c.finished_at)).where(some.c.what == "prove", some.c.state == "done")
    return conn.execute(proofs).scalar()


def oldest_unsealed_us(conn: sa.Connection) -> int | None:
    """Return the age of the oldest row of the audit trail that is not sealed; None if all are."""
    query = sa.select(now_us() - audit.c.created_at).join(unsealed, unsealed.c.audit_id == audit.c.id)
    return conn.execute(query.order_by(unsealed.c.audit_id).limit(1)).scalar()


def pending_deliveries(conn: sa.Connection) -> int:
    """Count what webhooks have not been told yet."""
    pending = deliveries.c.state == sa.literal_column("'pending'")
    return int(conn.execute(sa.select(sa.func.count()).where(pending)).scalar_one())


def operations_now(conn: sa.Connection) -> dict[str, tuple[int | None, bool]]:
    """Return, of each operation that keeps the registry in order, when it last ended, and whether it failed then."""
    query = sa.select(operations.c.kind, operations.c.ended_at, operations.c.failure.is_not(None))
    return {row[0]: (row[1], bool(row[2])) for row in conn.execute(query)}


def newest_action_us(conn: sa.Connection, action: str) -> int | None:
    """Return when something was last done, by the audit trail; None if it never was."""
    query = sa.select(audit.c.created_at).where(audit.c.action == action).order_by(audit.c.id.desc())
    return conn.execute(query.limit(1)).scalar()
