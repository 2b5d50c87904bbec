"""Saying that an agent does not serve what its channel says: when it begins, and when it is over.

Nobody asks a silent agent, so the registry looks at all of them now and then. An agent that is
behind is on its way: it comes to serve what the channel says, fails, or falls silent.
"""

from collections.abc import Sequence
from functools import partial

import sqlalchemy as sa

from deltareg.db.channels import fleet as queries
from deltareg.db.channels.fleet_rows import FollowerRow
from deltareg.db.session import read, with_retry
from deltareg.refs import LineRef
from deltareg.service.channels.fleet import drift_of
from deltareg.service.events import Action, record_event
from deltareg.service.registry import Registry

_TOLD = {"failed", "silent"}
_ROWS = 500


def tell_drift(registry: Registry) -> int:
    """Look at every follower, and tell of those whose drift is another than was told; say how many.

    Two processes that look at once tell once: what was told is compared again in the transaction.
    """
    total, after = 0, None
    while True:
        with read(registry.engine) as conn:
            rows = queries.follower_rows(conn, delta_id=None, channel_id=None, after=after, limit=_ROWS)
        changed = [row for row in rows if _change(row) is not None]
        if changed:
            total += with_retry(registry.engine, partial(_tell, rows=changed))
        if len(rows) < _ROWS:
            return total
        after = rows[-1].id


def _change(row: FollowerRow) -> str | None:
    """Give what is to be told now; None where that was told, or is to be waited for."""
    drift, told = drift_of(row), row.told or ""
    if drift in _TOLD:
        return drift if drift != told else None
    return "" if drift == "none" and told else None


def _tell(conn: sa.Connection, rows: Sequence[FollowerRow]) -> int:
    number = 0
    for row in rows:
        change = _change(row)
        if change is None or not queries.note_told(conn, row.id, before=row.told, now=change):
            continue
        number += 1
        line = LineRef(row.namespace, row.line)
        record_event(
            conn,
            Action.AGENT_DRIFT if change else Action.AGENT_ALIGN,
            f"{line}@{row.channel}/agent/{row.agent}",
            on=line,
            before={"drift": row.told or "none"},
            after={
                "agent": row.agent,
                "channel": row.channel,
                "drift": change or "none",
                "error": row.error if change == "failed" else None,
                "version": row.version,
                "desired_version": row.desired_version,
            },
            actor="registry",
        )
    return number
