"""Verifications without a verdict because something that they read is corrupt; they wait for it."""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from deltareg.db.runs.rows import ShownRunRow
from deltareg.db.runs.runs import select_runs
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.upsert import insert
from deltareg.db.storage.shares import PackHolder
from deltareg.db.tables import runs, waiting_runs


def add_waiting(conn: sa.Connection, run_id: str, waits_for: Iterable[PackHolder]) -> None:
    """Record what a run waits for; recorded entries stay."""
    for holder in waits_for:
        column = waiting_runs.c.base_id if holder.is_base else waiting_runs.c.version_id
        added = insert(conn, waiting_runs).values({"run_id": run_id, column.name: holder.row_id})
        conn.execute(added.on_conflict_do_nothing())


def take_waiting(conn: sa.Connection, held: PackHolder) -> Sequence[ShownRunRow]:
    """Return the runs that waited for a holder and nothing else, and stop waiting for it.

    Each run is returned to one caller only.
    """
    column = waiting_runs.c.base_id if held.is_base else waiting_runs.c.version_id
    delete = sa.delete(waiting_runs).where(column == held.row_id).returning(waiting_runs.c.run_id)
    run_ids = set(conn.execute(delete).scalars())
    if not run_ids:
        return []
    still_waiting = sa.select(waiting_runs.c.run_id).where(waiting_runs.c.run_id == runs.c.id)
    query = select_runs().where(runs.c.id.in_(run_ids), ~sa.exists(still_waiting))
    return fetch_all(conn, query.order_by(runs.c.created_at, runs.c.id), ShownRunRow)
