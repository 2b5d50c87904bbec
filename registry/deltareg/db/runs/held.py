"""What the workers hold, and what a namespace has cost lately."""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.runs.rows import HeldRunRow, RunRow
from deltareg.db.runs.runs import RunClaim, was_held
from deltareg.db.runs.turns import EXPIRED
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.tables import base_figures, runs, signing_keys, verdicts, versions, workers

_RUNNING = runs.c.state == sa.literal_column("'running'")
_DEAD = runs.c.state == sa.literal_column("'dead'")


def held_rows(conn: sa.Connection, *, seen_within_us: int) -> Sequence[HeldRunRow]:
    """List the workers that ask for work or hold a run, with the namespace of what each holds."""
    is_held = sa.and_(_RUNNING, ~EXPIRED, runs.c.lease_holder == workers.c.name)
    query = sa.select(workers.c.name, workers.c.labels, runs.c.id.label("run_id"), runs.c.namespace_id).select_from(
        workers.outerjoin(runs, is_held)
    )
    is_live = now_us() - workers.c.last_seen_at < seen_within_us
    return fetch_all(conn, query.where(sa.or_(is_live, runs.c.id.is_not(None))), HeldRunRow)


def has_died(conn: sa.Connection, namespace_id: int, *, codes: Sequence[str], within_us: int) -> bool:
    """Whether a run of a namespace came to nothing lately, for one of some reasons."""
    query = sa.select(runs.c.id).where(
        _DEAD,
        runs.c.namespace_id == namespace_id,
        runs.c.finished_at > now_us() - within_us,
        runs.c.result["why"].as_string().in_(codes),
    )
    return conn.execute(query.limit(1)).first() is not None


def has_come_to_an_end(conn: sa.Connection, base_id: int) -> bool:
    """Whether a worker whose key is not revoked has measured a base, or a version of it has a worker's verdict."""
    measured = (
        sa.select(base_figures.c.keyid)
        .join(signing_keys, signing_keys.c.keyid == base_figures.c.keyid)
        .where(base_figures.c.base_id == base_id, signing_keys.c.revoked_at.is_(None))
    )
    judged = (
        sa.select(verdicts.c.id)
        .join(versions, versions.c.id == verdicts.c.version_id)
        .where(versions.c.base_id == base_id, verdicts.c.verifier != "")
    )
    return any(conn.execute(query.limit(1)).first() is not None for query in (measured, judged))


def ended_run(conn: sa.Connection, hold: RunClaim) -> RunRow | None:
    """Return a run that ended without its last holder's report, to that holder, and lock it; None if it did not."""
    query = sa.select(runs).where(was_held(hold), runs.c.state.in_(["cancelled", "dead"]))
    return fetch_one(conn, query.with_for_update(), RunRow)
