"""Proofs that died: asked for again, as what killed them may be over.

A store that lied, a disk that was full, or workers that were killed end the attempts of a proof within a
minute, and its bytes would stay claimed.
"""

from functools import partial
from typing import Final
from uuid import uuid4

import sqlalchemy as sa

from deltareg.db.runs import dead_runs as queries
from deltareg.db.runs import runs as run_queries
from deltareg.db.runs.rows import RunRow
from deltareg.db.session import read, with_retry
from deltareg.db.sql.clock import US_PER_S
from deltareg.db.storage import proofs
from deltareg.service.events import Action
from deltareg.service.priority import NORMAL
from deltareg.service.registry import Caller, Registry
from deltareg.service.runs.ends import WHY
from deltareg.service.runs.info import concern_of_run
from deltareg.service.runs.kinds.prove import form_of, held_by

AGAIN: Final = "again"
"""In a run's request: how often its proof had died before."""
_ASKED_AGAIN: Final = "asked_again"
_ITSELF: Final = Caller("registry", 0, None, frozenset())
_REST_S, _MOST_TIMES, _BATCH = 1_800.0, 8, 50


def ask_again(registry: Registry, *, rest_s: float = _REST_S) -> int:
    """Queue some proofs that died again, each once; return how many were looked at.

    Args:
        registry: The database.
        rest_s: For how long a dead one is left alone.
    """
    with read(registry.engine) as conn:
        dead = queries.dead_proofs(conn, rested_us=round(rest_s * US_PER_S), limit=_BATCH)
    for run in dead:
        with_retry(registry.engine, partial(_settle, run=run))
    return len(dead)


def _settle(conn: sa.Connection, run: RunRow) -> None:
    if not queries.mark(conn, run.id, {WHY: _ASKED_AGAIN}):  # another server has
        return
    times = int(run.request.get(AGAIN, "0")) + 1
    is_over = form_of(run) is None and proofs.standing(conn, held_by(run)).deleted_at is not None
    if is_over or times > _MOST_TIMES or queries.has_later(conn, run):
        return
    run_id = run_queries.enqueue(
        conn,
        run_id=str(uuid4()),
        what=run.what,
        dedup_key=run.dedup_key,
        version_id=run.version_id,
        base_id=run.base_id,
        labels=run.labels,
        request={**run.request, AGAIN: str(times)},
        priority=min(run.priority, NORMAL),
        created_by=run.created_by,
    )
    _ITSELF.record(
        conn,
        Action.RUN_QUEUE,
        f"run/{run_id}",
        on=concern_of_run(conn, run),
        before=None,
        after={"what": run.what, "died": run.id},
    )
