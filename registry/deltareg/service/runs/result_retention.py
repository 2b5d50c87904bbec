"""Retention of what runs found out: answers go after their time, comparisons with their versions.

It goes in batches, each its own transaction. What has had its time is shown to nobody before it.
"""

from functools import partial

import sqlalchemy as sa

from deltareg.db.runs import run_results as queries
from deltareg.db.session import read, with_retry

_ROWS = 200


def drop_some_results(engine: sa.Engine) -> int:
    """Drop one batch; 0 where none is left."""
    with read(engine) as conn:
        if not queries.has_ended(conn):  # nothing is written where there is nothing to do
            return 0
    return with_retry(engine, partial(queries.drop_ended, limit=_ROWS))
