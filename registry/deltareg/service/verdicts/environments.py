"""The environments in which verdicts are made today: those of the most recent workers."""

import sqlalchemy as sa

from deltareg.db.runs.workers import worker_rows
from deltareg.db.sql.clock import US_PER_S
from deltareg.gate.verifier import environment_key, is_current_verifier
from deltareg.service.labels import is_for_one_run

_RECENT_US = 86_400 * US_PER_S


def worker_environments(conn: sa.Connection) -> frozenset[str]:
    """Return the environments of the workers seen within a day of the most recent one.

    So a fleet that is scaled to nothing overnight keeps its environments, and a replaced fleet has
    the new ones a day later. A worker that does not report its environment does not count, nor does
    one that was started for a single run.
    """
    rows = [
        row
        for row in worker_rows(conn)
        if is_current_verifier(row.labels.get("verifier", "")) and not is_for_one_run(row.labels)
    ]
    newest = min((row.age_us for row in rows), default=0)
    return frozenset(environment_key(row.labels) for row in rows if row.age_us <= newest + _RECENT_US)
