"""Retention of the outbox: an event that nobody took in a week is dropped; the audit row stays.

It works in batches, each its own transaction, beside those who write and deliver events. It may run
at any time, on several hosts at once, and be killed.
"""

from functools import partial

import sqlalchemy as sa

from deltareg.db.events import outbox as queries
from deltareg.db.session import read, with_retry
from deltareg.db.sql.clock import US_PER_S, read_clock

KEEP_S = 7 * 86_400.0
MOST_BATCHES = 50
_ROWS = 1_000


def drop_old_events(engine: sa.Engine, *, keep_s: float = KEEP_S, batches: int = MOST_BATCHES) -> int:
    """Drop the events that have waited longer than that, while somebody waits; return how many.

    Args:
        engine: The database.
        keep_s: How long an event stays, in seconds.
        batches: How many batches to drop at most; the rest waits for the next time.
    """
    total = 0
    for _ in range(batches):
        dropped = drop_some_events(engine, keep_s=keep_s)
        total += dropped
        if dropped < _ROWS:
            break
    return total


def drop_some_events(engine: sa.Engine, *, keep_s: float = KEEP_S) -> int:
    """Drop one batch of old events; 0 if none is left, or another process is dropping them."""
    with read(engine) as conn:
        before = read_clock(conn) - round(keep_s * US_PER_S)
        oldest = queries.oldest_event(conn)
    if oldest is None or oldest >= before:  # nothing is written where there is nothing to do
        return 0
    return with_retry(engine, partial(queries.drop_events, before=before, limit=_ROWS))
