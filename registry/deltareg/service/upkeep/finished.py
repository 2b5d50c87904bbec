"""Pushes and runs that came to their end long ago: they are dropped where nothing else needs them.

A run stays while a verdict, a stored form or something that waits names it, and a push while a pack
that it brought is there, or a key that it wrote may still have to be swept. In batches, each its own
transaction.
"""

from functools import partial

import sqlalchemy as sa

from deltareg.db.session import read, with_retry
from deltareg.db.sql.clock import US_PER_S
from deltareg.db.upkeep import finished as queries

_ROWS = 500


def drop_some_uploads(engine: sa.Engine, *, keep_s: float) -> int:
    """Drop a batch of pushes that ended longer ago than that; 0 if none is left."""
    keep_us = round(keep_s * US_PER_S)
    with read(engine) as conn:
        ended = queries.ended_uploads(conn, keep_us=keep_us, limit=_ROWS)
    return with_retry(engine, partial(queries.drop_uploads, ids=ended, keep_us=keep_us)) if ended else 0


def drop_some_runs(engine: sa.Engine, *, keep_s: float) -> int:
    """Drop a batch of runs that ended longer ago than that; 0 if none is left."""
    keep_us = round(keep_s * US_PER_S)
    with read(engine) as conn:
        ended = queries.ended_runs(conn, keep_us=keep_us, limit=_ROWS)
    return with_retry(engine, partial(queries.drop_runs, ids=ended, keep_us=keep_us)) if ended else 0
