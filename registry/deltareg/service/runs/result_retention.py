"""Retention of results: answers expire after a time, comparisons go with their versions.

It works in batches, each its own transaction. An expired result is shown to nobody, even before it
is dropped.
"""

from functools import partial

import sqlalchemy as sa

from deltareg.db.runs import run_results as queries
from deltareg.db.session import read, with_retry

_ROWS = 200


def drop_some_results(engine: sa.Engine) -> int:
    """Drop one batch; 0 if none is left."""
    with read(engine) as conn:
        if not queries.has_ended(conn):  # nothing is written where there is nothing to do
            return 0
    return with_retry(engine, partial(queries.drop_ended, limit=_ROWS))
