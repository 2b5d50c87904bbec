"""The counts behind quotas, counted anew: what differs from what was kept, and mending it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from deltareg.db.quotas.recount import recount
from deltareg.db.quotas.rows import UsageRow
from deltareg.db.quotas.usage import COUNTS, lock_usage, set_usage, usage_rows
from deltareg.db.session import read, with_retry

KIND: Final = "count"
_KEPT = (*COUNTS, "run_us")


@dataclass(frozen=True, slots=True)
class WrongCount:
    """A holder whose kept counts are not what there is, and what differs."""

    holder: str
    detail: str


def wrong_counts(engine: sa.Engine) -> list[WrongCount]:
    """Compare what was kept with what there is, in one snapshot."""
    with read(engine) as conn:
        return list(_compare(usage_rows(conn), recount(conn)))


def mend_counts(engine: sa.Engine) -> list[WrongCount]:
    """Put wrong counts right, and return them; whoever adds to them meanwhile waits."""
    wrong = wrong_counts(engine)
    if not wrong:
        return []

    def transaction(conn: sa.Connection) -> None:
        holders = [each.holder for each in wrong]
        lock_usage(conn, holders)
        counted = recount(conn)
        for holder in holders:
            set_usage(conn, counted.get(holder, UsageRow(holder)))

    with_retry(engine, transaction)
    return wrong


def _compare(kept: dict[str, UsageRow], counted: dict[str, UsageRow]) -> Iterator[WrongCount]:
    for holder in sorted({*kept, *counted}):
        one, other = (rows.get(holder, UsageRow(holder)) for rows in (kept, counted))
        differs = [
            f"{name} {getattr(one, name)} and not {getattr(other, name)}"
            for name in _KEPT
            if getattr(one, name) != getattr(other, name)
        ]
        if differs:
            yield WrongCount(holder, f"quotas count {', '.join(differs)}")
