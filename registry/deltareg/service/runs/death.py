"""Runs that end without a result: of a verification an inconclusive verdict remains, never a pass."""

from collections.abc import Callable
from functools import partial
from uuid import UUID, uuid4

import sqlalchemy as sa

from deltareg.db.runs import runs as queries
from deltareg.db.runs.rows import RunRow
from deltareg.db.session import read, with_retry
from deltareg.service.events import Action, record_event
from deltareg.service.registry import Registry
from deltareg.service.runs.info import concern_of_run
from deltareg.service.runs.kinds import RUN_KINDS

_NO_ANSWER = "the lease of the last attempt ran out without an answer from its worker"


def bury_exhausted(registry: Registry, *, new_id: Callable[[], UUID] = uuid4) -> int:
    """End the runs whose last worker went away; return how many there were."""
    with read(registry.engine) as conn:
        run_ids = queries.exhausted_runs(conn)
    buried = [with_retry(registry.engine, partial(_bury, run_id=run_id, new_id=new_id)) for run_id in run_ids]
    return sum(buried)


def keep_death(conn: sa.Connection, run: RunRow, new_id: Callable[[], UUID], *, created_by: int | None) -> None:
    """Record, in the transaction that ends a run, that it has no result."""
    kind = RUN_KINDS.get(run.what)
    if kind is not None:  # else it is of another release, which this one must not trip over
        kind.on_death(conn, run, outcome_id=str(new_id()), created_by=created_by)


def tell_death(conn: sa.Connection, run: RunRow, new_id: Callable[[], UUID], *, before: str) -> None:
    """Record the end of a run that no worker has reported."""
    keep_death(conn, run, new_id, created_by=None)
    record_event(
        conn,
        Action.RUN_DEAD,
        f"run/{run.id}",
        on=concern_of_run(conn, run),
        before={"state": before},
        after={"state": "dead", "error": run.error},
        actor="registry",
    )


def _bury(conn: sa.Connection, run_id: str, new_id: Callable[[], UUID]) -> bool:
    run = queries.bury(conn, run_id, error=_NO_ANSWER)
    if run is None:
        return False
    tell_death(conn, run, new_id, before="running")
    return True
