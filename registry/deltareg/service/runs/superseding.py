"""Runs that a push queued give way to the next push, so that a training loop floods nobody.

A training that pushes every few minutes is faster than the workers, and nobody waits for what it
pushed an hour ago. A run is only ended if no worker has begun it and no person, gate or channel
asked for it; the newest version's own run always stays.
"""

import sqlalchemy as sa

from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.runs import runs as queries
from deltareg.db.runs import superseding
from deltareg.service.describe import line_of, ref_of
from deltareg.service.events import Action
from deltareg.service.registry import Caller
from deltareg.service.runs.cut_short import keep_findings_of
from deltareg.suites.suite import DEFAULT_SUITE

AUTOMATIC = superseding.AUTOMATIC
BY_PUSH = {AUTOMATIC: "push"}
"""What marks a run that a push queues; it is in the run's request."""


def supersede_older(conn: sa.Connection, caller: Caller, version: VersionRow, *, what: str) -> int:
    """End runs that earlier pushes to a line queued and nobody began; return how many.

    Args:
        conn: The transaction of the push, which holds the lock of the line.
        caller: Who pushes.
        version: The pushed version; its own run is queued already.
        what: The kind of run.
    """
    superseded = superseding.supersede(conn, version.id, what=what, suite=DEFAULT_SUITE, by=ref_of(version))
    begun = [row.id for row in superseded if row.started_at is not None]  # and given back
    keep_findings_of(conn, begun, why=f"superseded by {ref_of(version)}")
    for row in superseded:
        after = {"state": "cancelled", superseding.BY: ref_of(version)}
        caller.record(
            conn, Action.RUN_SUPERSEDE, f"run/{row.id}", on=line_of(version), before={"state": "queued"}, after=after
        )
    return len(superseded)


def is_kept(conn: sa.Connection, run_id: str) -> bool:
    """Transfer a joined run to the asker; False if it was superseded just now."""
    row = queries.run_row(conn, run_id)
    if row is None or AUTOMATIC not in row.request or row.state in {"done", "dead"}:
        return True
    return superseding.make_asked_for(conn, run_id, row.request)
