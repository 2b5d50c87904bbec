"""Runs that died of what may be over: verifications that workers did not know, and proofs."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from deltareg.db.runs.rows import RunRow, ShownRunRow
from deltareg.db.runs.runs import select_runs
from deltareg.db.sql.clock import US_PER_S, now_us
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.tables import runs
from deltareg.db.tables.runs import IS_OF_RARE_STATE

_LATELY_US = 30 * 86_400 * US_PER_S
_DEAD = runs.c.state == sa.literal_column("'dead'")
_UNMARKED = runs.c.result.is_(None)


def died_unknown(conn: sa.Connection, *, signs: Sequence[str], limit: int) -> Sequence[ShownRunRow]:
    """List verifications of the last month that died with one of some errors and are not marked, oldest first."""
    is_it = sa.or_(*(runs.c.error.contains(sign, autoescape=True) for sign in signs))
    query = select_runs().where(
        _DEAD, _UNMARKED, runs.c.what == "verify", runs.c.finished_at > now_us() - _LATELY_US, is_it
    )
    return fetch_all(conn, query.order_by(runs.c.created_at, runs.c.id).limit(limit), ShownRunRow)


def dead_proofs(conn: sa.Connection, *, rested_us: int, limit: int) -> Sequence[RunRow]:
    """List proofs that died within the last month, at least `rested_us` ago, and are not marked, oldest first."""
    query = sa.select(runs).where(
        _DEAD,
        _UNMARKED,
        IS_OF_RARE_STATE,
        runs.c.what == "prove",
        runs.c.created_at > now_us() - _LATELY_US,
        runs.c.finished_at <= now_us() - rested_us,
    )
    return fetch_all(conn, query.order_by(runs.c.created_at, runs.c.id).limit(limit), RunRow)


def has_later(conn: sa.Connection, run: RunRow) -> bool:
    """Whether a later run of the same kind and key waits, is under way, or ended well."""
    later = sa.exists().where(
        runs.c.dedup_key == run.dedup_key,
        runs.c.version_id == run.version_id,  # of which there is an index, which the key alone has not
        runs.c.base_id == run.base_id,
        runs.c.created_at > run.created_at,
        runs.c.state.in_(("queued", "running", "done")),
    )
    return bool(conn.execute(sa.select(later)).scalar_one())


def mark(conn: sa.Connection, run_id: str, result: Mapping[str, object]) -> bool:
    """Give a dead run a result; return False if it has one."""
    update = sa.update(runs).where(runs.c.id == run_id, _DEAD, _UNMARKED)
    return conn.execute(update.values(result=dict(result))).rowcount == 1
