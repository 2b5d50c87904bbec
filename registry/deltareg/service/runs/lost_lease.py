"""The error for a worker that writes to a run that it does not hold (any more)."""

import sqlalchemy as sa

from deltareg.db.runs import runs as queries
from deltareg.errors import DeltaregError, LeaseLost, NotFound


def lease_lost(conn: sa.Connection, own: queries.RunClaim) -> DeltaregError:
    """Build the error for a write to a run that the caller does not hold (any more)."""
    run = queries.run_row(conn, own.run_id)
    if run is None:
        return NotFound(f"there is no run {own.run_id[:40]}", fix="claim another run")
    now = run.state if run.fence == own.fence else f"{run.state}, at fence {run.fence}"
    return LeaseLost(
        f"run {run.id} is not under your lease (any more): it is {now}", fix="drop the result and claim another run"
    )
