"""What stands beside a channel: what was rolled back from it, which requests wait, who follows."""

from collections.abc import Iterable

from deltareg.db.rows import OpenRequestRow, SetbackRow
from deltareg.service.clock import rfc3339
from deltareg.wire import Answer


class Setback(Answer):
    """A version that was rolled back from a channel, and stands quarantined there."""

    channel: str
    version: int
    revision: int
    actor: str
    reason: str
    at: str


class OpenRequest(Answer):
    """A request that waits for approvals."""

    id: int
    channel: str
    version: int
    opener: str
    reason: str
    at: str


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


def open_requests(
    rows: Iterable[OpenRequestRow], *, version: int | None = None
) -> list[OpenRequest]:
    """Show the requests that wait: all, or those for one version alone."""
    return [
        OpenRequest(
            id=row.id, channel=row.channel, version=row.version, opener=row.opener,
            reason=row.reason, at=rfc3339(row.created_at),
        )
        for row in rows
        if version in {None, row.version}
    ]  # fmt: skip
