"""Bytes that a worker could not read: the server checks them itself before it draws conclusions."""

from functools import partial

import sqlalchemy as sa

from deltareg.db.runs import runs as run_queries
from deltareg.db.runs.rows import ShownRunRow
from deltareg.db.session import read, with_retry
from deltareg.db.sql.row_protocols import present
from deltareg.db.storage import proofs
from deltareg.db.storage.rows import PackRow
from deltareg.db.storage.shares import PackHolder
from deltareg.db.upkeep import damage as queries
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.push.damage import find_damage, find_damage_of
from deltareg.service.registry import Caller, Registry
from deltareg.service.runs.eligible import FORM
from deltareg.service.runs.kinds.prove import WHAT, result_of
from deltareg.service.runs.kinds.verify import WHAT as VERIFY
from deltareg.service.runs.needs import needed_by
from deltareg.service.runs.waiting import note_waiting


def look_after_failure(registry: Registry, caller: Caller, run_id: str) -> None:
    """Check all bytes that a run needed, once its worker has reported that it failed.

    Damage is marked. That ends a run that was to prove the damaged bytes, and drops a form that is
    damaged.
    """
    caller.require(Right.VERIFY, on=EVERYTHING)
    with read(registry.engine) as conn:
        run = run_queries.run_row(conn, run_id)
        of_form = [] if run is None else _of_form(conn, run)
        holders = [] if run is None else needed_by(conn, run)
    find_damage(registry, caller, of_form)
    for held in holders:
        find_damage_of(registry, caller, held)
    if run is not None:
        with_retry(registry.engine, partial(_end, run=run))


def _of_form(conn: sa.Connection, run: ShownRunRow) -> list[PackRow]:
    if FORM not in run.request:
        return []
    return list(queries.pack_rows_of_form(conn, int(run.request[FORM])))


def _end(conn: sa.Connection, run: ShownRunRow) -> None:
    if run.what == VERIFY and run.state == "dead":  # that was its last attempt
        note_waiting(conn, run)
    if run.what != WHAT or FORM in run.request:  # a form that is damaged has gone with its proof
        return
    is_base = run.base_id is not None
    held = PackHolder(present(run.base_id if is_base else run.version_id), is_base=is_base)
    if proofs.standing(conn, held).corrupt_at is not None:
        run_queries.end_queued(conn, run.dedup_key, result=result_of("corrupt", {}))
