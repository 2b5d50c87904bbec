"""The versions of a line to choose from, with the channels that serve them."""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from deltareg.db.channels import channels as channel_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.session import read
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.describe import describe_plain
from deltareg.service.lines.veil import veil_base
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_line
from deltareg.wire import VersionInfo

_CHOICES = 200


def choosable_rows(conn: sa.Connection, delta_id: int, *, also: Iterable[int | None] = ()) -> list[VersionRow]:
    """List the newest versions of a line, newest first, and older ones whose numbers are given; no deleted ones."""
    rows = list(version_queries.version_rows(conn, delta_id, before=None, limit=_CHOICES))
    listed = {row.number for row in rows}
    for number in sorted({number for number in also if number} - listed, reverse=True):
        row = version_queries.find_version(conn, delta_id, number=number)
        if row is not None and row.deleted_at is None:
            rows.append(row)
    return rows


def list_choices(
    registry: Registry, caller: Caller, line: LineRef, *, also: Iterable[int | None] = ()
) -> Sequence[VersionInfo]:
    """List the newest versions that are not deleted, newest first, and older ones whose numbers are given.

    Raises:
        NotFound: There is no such line.
    """
    caller.require(Right.READ, on=line)
    with read(registry.engine) as conn:
        delta = find_line(conn, caller, line)
        rows = choosable_rows(conn, delta.id, also=also)
        channels: dict[int, list[str]] = {}
        for pointer in channel_queries.pointers(conn, [delta.id]):
            channels.setdefault(pointer.number, []).append(pointer.name)
    return [veil_base(caller, describe_plain(row, None, channels=channels.get(row.number, []))) for row in rows]
