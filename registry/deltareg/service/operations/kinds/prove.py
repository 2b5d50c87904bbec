"""Stored bytes proven anew: workers read, decode and hash what was not looked at for long.

Each step queues some proofs in the background, and none while enough of them wait.
"""

import sqlalchemy as sa

from deltareg.db.session import read, with_retry
from deltareg.db.storage import checks as queries
from deltareg.db.storage.proof_rows import CheckMarkRow
from deltareg.db.storage.shares import PackHolder
from deltareg.service.operations.operation import Operation, Place, StepContext, StepOutcome, number_in
from deltareg.service.priority import BACKGROUND
from deltareg.service.runs.kinds.prove import queue_proof

_BATCH, _WAITING_MOST = 20, 40


def _prove(context: StepContext, place: Place) -> StepOutcome:
    """Queue a batch of proofs, unless workers are behind."""
    mark = CheckMarkRow(number_in(place, "version"), number_in(place, "base"), "1")
    at = {"version": mark.version_id, "base": mark.base_id}
    with read(context.registry.engine) as conn:
        if queries.waiting_proofs(conn) >= _WAITING_MOST:
            return StepOutcome(at, rest_s=60.0)
        holders = queries.stored_after(conn, mark, limit=_BATCH)
    if not holders:
        return StepOutcome(None)

    def queue(conn: sa.Connection) -> None:
        for held in holders:
            queue_proof(conn, held, created_by=None, priority=BACKGROUND, is_anew=True)

    with_retry(context.registry.engine, queue)
    return StepOutcome(_after(at, holders), len(holders), counts={"queued": len(holders)})


def _after(at: dict[str, int], holders: list[PackHolder]) -> Place:
    for held in holders:
        key = "base" if held.is_base else "version"
        at[key] = max(at[key], held.row_id)
    return at


PROVE = Operation("prove", "lets workers read all stored bytes and hash them", 0.0, _prove)
