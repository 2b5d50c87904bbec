"""Retention of logs: logs of runs that ended long ago are dropped; the verdicts stay.

It works in batches, each its own transaction, so that neither a worker that writes a log nor a
person who reads one waits for long. It may run at any time, on several hosts at once, and be
killed: a log is either there whole, or dropped whole with a record of when.
"""

from functools import partial

import sqlalchemy as sa

from deltareg.db.runs import run_log as queries
from deltareg.db.session import read, with_retry
from deltareg.db.sql.clock import US_PER_S, read_clock

DEFAULT_KEEP_S = 30 * 86_400.0
MOST_BATCHES = 50
_LINES = 1_000  # looked at to find the runs of a batch
_RUNS = 20  # in a batch; each log is 1 MiB at most


def drop_old_logs(engine: sa.Engine, *, keep_s: float | None, batches: int = MOST_BATCHES) -> int:
    """Drop the logs of runs that ended longer ago than that, while somebody waits; return how many.

    Args:
        engine: The database.
        keep_s: How long a log stays after its run has ended, in seconds; None for ever.
        batches: How many batches to drop at most; the rest waits for the next time.
    """
    total = 0
    for _ in range(batches):
        dropped = drop_some_logs(engine, keep_s=keep_s)
        total += dropped
        if not dropped:
            break
    return total


def drop_some_logs(engine: sa.Engine, *, keep_s: float | None) -> int:
    """Drop one batch of old logs; 0 if none is left, or another process is dropping them."""
    if keep_s is None:
        return 0
    with read(engine) as conn:
        before = _before(conn, keep_s)
        run_ids = queries.old_logs(conn, before=before, lines=_LINES)[:_RUNS]
    if not run_ids:
        return 0
    return with_retry(engine, partial(queries.drop_logs, run_ids=run_ids, before=before))


def _before(conn: sa.Connection, keep_s: float) -> int:
    return read_clock(conn) - round(keep_s * US_PER_S)
