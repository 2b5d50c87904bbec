"""The open requests of a channel."""

from collections.abc import Iterable

from deltareg.db.channels.request_rows import OpenRequestRow
from deltareg.service.clock import rfc3339
from deltareg.wire import Answer


class OpenRequest(Answer):
    """A request that waits for approvals."""

    id: int
    channel: str
    version: int
    opener: str
    reason: str
    at: str


def open_requests(rows: Iterable[OpenRequestRow], *, version: int | None = None) -> list[OpenRequest]:
    """Describe the open requests: all, or those for one version."""
    return [
        OpenRequest(
            id=row.id,
            channel=row.channel,
            version=row.version,
            opener=row.opener,
            reason=row.reason,
            at=rfc3339(row.created_at),
        )
        for row in rows
        if version in {None, row.version}
    ]
