"""Uploads and runs that ended long ago, and that nothing else in the database needs."""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.sql.clock import now_us
from deltareg.db.tables import (
    dropped_logs,
    forms,
    lease_keys,
    packs,
    run_log,
    run_results,
    runs,
    upload_packs,
    uploads,
    verdicts,
    waiting_runs,
)
from deltareg.db.tables.packs import UNADOPTED

_OF_RUN = (run_log, dropped_logs, run_results, lease_keys)


def ended_uploads(conn: sa.Connection, *, keep_us: int, limit: int) -> Sequence[str]:
    """List uploads that ended before that time, and of whose keys none is in use or still to be swept."""
    query = sa.select(uploads.c.id).where(*_are_ended_uploads(keep_us)).order_by(uploads.c.touched_at).limit(limit)
    return conn.execute(query).scalars().all()


def drop_uploads(conn: sa.Connection, ids: Sequence[str], *, keep_us: int) -> int:
    """Drop those of some uploads that are still as `ended_uploads` lists them; return how many."""
    which = sa.select(uploads.c.id).where(uploads.c.id.in_(ids), *_are_ended_uploads(keep_us)).with_for_update()
    sure = conn.execute(which).scalars().all()
    conn.execute(sa.delete(upload_packs).where(upload_packs.c.upload_id.in_(sure)))
    return conn.execute(sa.delete(uploads).where(uploads.c.id.in_(sure))).rowcount


def ended_runs(conn: sa.Connection, *, keep_us: int, limit: int) -> Sequence[str]:
    """List runs that ended before that time and that nothing refers to but what goes with them."""
    query = sa.select(runs.c.id).where(*_are_ended_runs(keep_us)).order_by(runs.c.created_at, runs.c.id).limit(limit)
    return conn.execute(query).scalars().all()


def drop_runs(conn: sa.Connection, ids: Sequence[str], *, keep_us: int) -> int:
    """Drop those of some runs that are still as `ended_runs` lists them; return how many."""
    which = sa.select(runs.c.id).where(runs.c.id.in_(ids), *_are_ended_runs(keep_us)).with_for_update()
    sure = conn.execute(which).scalars().all()
    for table in _OF_RUN:
        conn.execute(sa.delete(table).where(table.c.run_id.in_(sure)))
    return conn.execute(sa.delete(runs).where(runs.c.id.in_(sure))).rowcount


def _are_ended_uploads(keep_us: int) -> Sequence[sa.ColumnElement[bool]]:
    is_to_sweep = sa.exists().where(upload_packs.c.upload_id == uploads.c.id, UNADOPTED)
    # Whose bytes a pack is, and which of its keys is old, stands in the upload that brought it.
    is_in_use = sa.exists().where(
        upload_packs.c.upload_id == uploads.c.id, upload_packs.c.physical_key == packs.c.physical_key
    )
    return uploads.c.state != "open", uploads.c.touched_at <= now_us() - keep_us, ~is_to_sweep, ~is_in_use


def _are_ended_runs(keep_us: int) -> Sequence[sa.ColumnElement[bool]]:
    needs = [
        sa.exists().where(table.c.run_id == runs.c.id).correlate(runs) for table in (verdicts, forms, waiting_runs)
    ]
    return (
        # By the time of its making first, which has an index; a run does not end before it is made.
        runs.c.created_at <= now_us() - keep_us,
        runs.c.state.in_(["done", "dead", "cancelled"]),
        runs.c.finished_at <= now_us() - keep_us,
        *(~need for need in needs),
    )
