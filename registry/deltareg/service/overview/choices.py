"""The versions of a line to choose from, with the channels that serve them."""

from collections.abc import Sequence

from deltareg.db.channels import channels as channel_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.session import read
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.describe import describe_plain
from deltareg.service.lines.veil import veil_base
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_line
from deltareg.wire import VersionInfo

_CHOICES = 200


def list_choices(registry: Registry, caller: Caller, line: LineRef) -> Sequence[VersionInfo]:
    """List the newest versions that are not deleted, newest first.

    Raises:
        NotFound: There is no such line.
    """
    caller.require(Right.READ, on=line)
    with read(registry.engine) as conn:
        delta = find_line(conn, caller, line)
        rows = version_queries.version_rows(conn, delta.id, before=None, limit=_CHOICES)
        channels: dict[int, list[str]] = {}
        for pointer in channel_queries.pointers(conn, [delta.id]):
            channels.setdefault(pointer.number, []).append(pointer.name)
    return [
        veil_base(caller, describe_plain(row, None, channels=channels.get(row.number, [])))
        for row in rows
        if row.deleted_at is None
    ]
