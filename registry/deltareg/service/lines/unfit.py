"""Recording an event at the moment when what a channel serves becomes unfit.

The channel continues to serve it, because only its people can know what would be worse. Whenever
the channel is shown, what it serves is checked against its gate (`service.channels.fitness`).
"""

import sqlalchemy as sa

from deltareg.db.channels.channels import serving_channels
from deltareg.db.lines.version_rows import VersionRow
from deltareg.service.describe import line_of
from deltareg.service.events import Action
from deltareg.service.registry import Caller


def tell_unfit(conn: sa.Connection, caller: Caller, version: VersionRow, *, because: str) -> None:
    """Record, for each channel that serves a version, that the version is unfit."""
    for name in serving_channels(conn, version.id):
        tell_channel_unfit(conn, caller, version, name, because=because)


def tell_channel_unfit(conn: sa.Connection, caller: Caller, version: VersionRow, name: str, *, because: str) -> None:
    """Record that the version that a channel serves is unfit."""
    line = line_of(version)
    caller.record(
        conn,
        Action.CHANNEL_UNFIT,
        f"{line}@{name}",
        on=line,
        before=None,
        after={"version": version.number, "digest": version.manifest_digest, "because": because},
    )
