"""Verifications that came to nothing as something that they read is corrupt, until it is whole."""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from deltareg.db.runs.rows import ShownRunRow
from deltareg.db.runs.runs import select_runs
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.upsert import insert
from deltareg.db.storage.shares import PackHolder
from deltareg.db.tables import runs, waiting_runs


def add_waiting(conn: sa.Connection, run_id: str, waits_for: Iterable[PackHolder]) -> None:
    """Write down what a run waits for; what is there already stays."""
    for held in waits_for:
        column = waiting_runs.c.base_id if held.is_base else waiting_runs.c.version_id
        added = insert(conn, waiting_runs).values({"run_id": run_id, column.name: held.row_id})
        conn.execute(added.on_conflict_do_nothing())


def take_waiting(conn: sa.Connection, held: PackHolder) -> Sequence[ShownRunRow]:
    """Give the runs that waited for this and for nothing else, once: who takes them has them."""
    column = waiting_runs.c.base_id if held.is_base else waiting_runs.c.version_id
    taken = sa.delete(waiting_runs).where(column == held.row_id).returning(waiting_runs.c.run_id)
    found = set(conn.execute(taken).scalars())
    if not found:
        return []
    others = sa.select(waiting_runs.c.run_id).where(waiting_runs.c.run_id == runs.c.id)
    query = select_runs().where(runs.c.id.in_(found), ~sa.exists(others))
    return fetch_all(conn, query.order_by(runs.c.created_at, runs.c.id), ShownRunRow)
