"""What was rolled back from channels and is kept away from them."""

from collections.abc import Iterable

from deltareg.db.channels.rows import SetbackRow
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.clock import rfc3339
from deltareg.service.registry import Caller
from deltareg.wire import Setback


def setbacks(rows: Iterable[SetbackRow], *, version: int | None = None) -> list[Setback]:
    """Show what was rolled back: all, or one version alone."""
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
        if version in {None, row.version}
    ]


def setbacks_in_sight(caller: Caller, rows: Iterable[SetbackRow]) -> list[Setback]:
    """Show what was rolled back in lines that somebody may read."""
    return setbacks(row for row in rows if caller.may(Right.READ, on=LineRef(row.namespace, row.line)))
