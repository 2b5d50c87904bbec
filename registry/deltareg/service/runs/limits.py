"""Limits on the worker time that one principal may ask for: runs at once, and runs in an hour."""

from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil

import sqlalchemy as sa

from deltareg.db.runs import run_results as queries
from deltareg.db.sql.clock import US_PER_S, read_clock
from deltareg.errors import QuotaExceeded
from deltareg.service.registry import Caller

_HOUR_US = 3_600 * US_PER_S


@dataclass(frozen=True, slots=True)
class RunLimit:
    """A limit for one principal.

    Attributes:
        open: How many runs of a kind may wait or be under way.
        hourly: How many may be asked for in an hour.
    """

    open: int
    hourly: int


def check_limit_of(conn: sa.Connection, caller: Caller, what: str, limit: RunLimit, *, beside: str) -> None:
    """Refuse more runs of a kind than a caller may ask for, in the transaction that queues one.

    `beside` is the run that was just queued; it is not counted.

    Raises:
        QuotaExceeded: The limit is reached; the message says when another may be queued.
    """
    recent = queries.asked_since(conn, caller.principal_id, what=what, within_us=_HOUR_US, beside=beside)
    is_open = [each for each in recent if each.state in {"queued", "running"}]
    if len(is_open) >= limit.open:
        raise QuotaExceeded(
            f"{caller.principal} has {len(is_open)} runs of kind {what} open, and may have {limit.open}",
            fix="wait until one has ended, or cancel one: deltareg verdict cancel RUN",
        )
    if len(recent) >= limit.hourly:
        again = recent[len(recent) - limit.hourly].created_at + _HOUR_US
        minutes = max(1, ceil((again - read_clock(conn)) / (60 * US_PER_S)))
        at = datetime.fromtimestamp(again / US_PER_S, UTC)
        raise QuotaExceeded(
            f"{caller.principal} has asked for {len(recent)} runs of kind {what} in the last hour,"
            f" and may ask for {limit.hourly}",
            fix=f"ask again in {minutes} min, after {at:%H:%M} UTC",
        )
