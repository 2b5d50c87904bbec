"""Versions that were rolled back from channels and are quarantined there."""

from collections.abc import Iterable

from deltareg.db.channels.rows import SetbackRow
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.clock import rfc3339
from deltareg.service.registry import Caller
from deltareg.wire import Setback


def setbacks(rows: Iterable[SetbackRow]) -> list[Setback]:
    """Describe rollbacks that left a quarantine."""
    return [
        Setback(
            line=f"{row.namespace}/{row.line}",
            channel=row.channel,
            version=row.version,
            revision=row.revision,
            actor=row.actor,
            reason=row.reason,
            at=rfc3339(row.created_at),
        )
        for row in rows
    ]


def setbacks_in_sight(caller: Caller, rows: Iterable[SetbackRow]) -> list[Setback]:
    """Describe such rollbacks in the lines that a caller may read."""
    return setbacks(row for row in rows if caller.may(Right.READ, on=LineRef(row.namespace, row.line)))
