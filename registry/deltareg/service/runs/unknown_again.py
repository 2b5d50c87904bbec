"""Verifications that died as their workers did not know what they needed: they are queued again.

A server of a release before counted that as attempts. Where its verdict is still the newest of the
suite, the version is verified again, once, with the suite as it is now.
"""

import logging
from contextlib import suppress
from functools import partial
from typing import Final

import sqlalchemy as sa

from deltareg.db.lines import versions as version_queries
from deltareg.db.runs import dead_runs as queries
from deltareg.db.runs import runs as run_queries
from deltareg.db.runs.rows import ShownRunRow
from deltareg.db.session import read, with_retry
from deltareg.db.sql.row_protocols import present
from deltareg.errors import NotFound
from deltareg.service.describe import line_of, ref_of
from deltareg.service.events import Action
from deltareg.service.registry import Caller, Registry
from deltareg.service.runs.ends import WHY
from deltareg.service.runs.ignorance import SIGNS, words_in
from deltareg.service.runs.requeue import queue_once_more
from deltareg.service.verdicts.signed import LOCAL

log = logging.getLogger(__name__)

UNKNOWN: Final = "unknown"
_ITSELF: Final = Caller("registry", 0, None, frozenset())
_MOST = 200


def queue_unknown_again(registry: Registry) -> int:
    """Queue what died of ignorance again, each once; return how many."""
    with read(registry.engine) as conn:
        rows = queries.died_unknown(conn, signs=SIGNS, limit=_MOST)
    count = sum(with_retry(registry.engine, partial(_settle, run=row)) for row in rows)
    if count:
        log.info("%d verifications that their workers did not know are queued again", count)
    return count


def _settle(conn: sa.Connection, run: ShownRunRow) -> bool:
    if not queries.mark(conn, run.id, {WHY: UNKNOWN}):  # another server has
        return False
    version = version_queries.version_by_id(conn, present(run.version_id))
    newest = run_queries.newest_ended(conn, version.id, what=run.what, suite=run.suite)
    is_over = version.deleted_at is not None or LOCAL in run.request or newest is None or newest.id != run.id
    if is_over or not words_in(run.error or ""):
        return False
    with suppress(NotFound):  # of its suite, or of the variant: nobody asks for that any more
        run_id = queue_once_more(conn, _ITSELF, run, version)
        after = {"version": ref_of(version), "suite": run.suite, "waited_for": "a worker that knows it"}
        _ITSELF.record(conn, Action.RUN_QUEUE, f"run/{run_id}", on=line_of(version), before=None, after=after)
        return True
    return False
