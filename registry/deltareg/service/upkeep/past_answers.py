"""What has done its work: answers kept for repeated requests, and the keys of leases of ended runs.

It works in batches, each its own transaction. It may run at any time, on several hosts at once, and
be killed.
"""

from functools import partial

import sqlalchemy as sa

from deltareg.db.access import idempotency
from deltareg.db.session import read, with_retry
from deltareg.db.verdicts import signing

_ROWS = 1_000
_LATE_REPORT_S = 24 * 3600.0
"""How long after the end of its run a report is still answered by what became of the run."""


def drop_some_answers(engine: sa.Engine) -> int:
    """Drop a batch of answers that are repeated no more; 0 if none is left."""
    with read(engine) as conn:
        past = idempotency.past_answers(conn, limit=_ROWS)
    return with_retry(engine, partial(idempotency.drop_answers, ids=past)) if past else 0


def drop_some_lease_keys(engine: sa.Engine, *, keep_s: float = _LATE_REPORT_S) -> int:
    """Drop a batch of keys of runs that ended longer ago than that; 0 if none is left."""
    with read(engine) as conn:
        past = signing.past_lease_keys(conn, keep_s=keep_s, limit=_ROWS)
    return with_retry(engine, partial(signing.drop_lease_keys, run_ids=past, keep_s=keep_s)) if past else 0
