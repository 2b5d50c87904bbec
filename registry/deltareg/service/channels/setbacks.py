"""What was rolled back from channels and is kept away from them."""

from collections.abc import Iterable

from deltareg.db.rows import SetbackRow
from deltareg.service.clock import rfc3339
from deltareg.wire import Setback


def setbacks(rows: Iterable[SetbackRow], *, version: int | None = None) -> list[Setback]:
    """Show what was rolled back: all, or one version alone."""
    return [
        Setback(
            channel=row.channel, version=row.version, revision=row.revision, actor=row.actor,
            reason=row.reason, at=rfc3339(row.created_at),
        )
        for row in rows
        if version in {None, row.version}
    ]  # fmt: skip
