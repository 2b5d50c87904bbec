"""Saying that what a channel serves is unfit: the moment in which that comes about is an event.

The channel serves on, for nobody but its people knows what would be worse. What it serves now is
held against its gate whenever it is looked at (`service.channels.fitness`).
"""

import sqlalchemy as sa

from deltareg.db.channels.channels import serving_channels
from deltareg.db.lines.version_rows import VersionRow
from deltareg.service.describe import line_of
from deltareg.service.events import Action
from deltareg.service.registry import Caller


def tell_unfit(conn: sa.Connection, caller: Caller, version: VersionRow, *, because: str) -> None:
    """Record for each channel that serves a version that it serves what is unfit."""
    for name in serving_channels(conn, version.id):
        tell_channel_unfit(conn, caller, version, name, because=because)


def tell_channel_unfit(conn: sa.Connection, caller: Caller, version: VersionRow, name: str, *, because: str) -> None:
    """Record that a channel serves what is unfit."""
    line = line_of(version)
    caller.record(
        conn,
        Action.CHANNEL_UNFIT,
        f"{line}@{name}",
        on=line,
        before=None,
        after={"version": version.number, "digest": version.manifest_digest, "because": because},
    )
