"""The history of a line as one list, newest first: pushes, verdicts, moves, revocations, and what else is recorded."""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.lines import log as queries
from deltareg.db.lines.rows import EventRow
from deltareg.db.session import read
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.clock import rfc3339
from deltareg.service.lines.recorded_events import recorded_events
from deltareg.service.paging import check_limit, page, read_mark_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_line
from deltareg.wire import LogEntry, Page


def show_log(
    registry: Registry,
    caller: Caller,
    line: LineRef,
    *,
    channel: str | None,
    cursor: str | None,
    limit: int,
    every: bool = False,
) -> Page[LogEntry]:
    """List what happened to a line; with `channel`, only to that channel.

    Without `every`, as clients of the release before ask, only what they have words for.
    """
    caller.require(Right.READ, on=line)
    before = read_mark_cursor(cursor)
    with read(registry.engine) as conn:
        delta = find_line(conn, caller, line)
        rows = _rows(conn, delta.id, channel, before, check_limit(limit) + 1)
        if every:
            more = limit + 1
            floor = rows[-1].at if len(rows) == more else None
            until = None if before is None else before[0]
            found = recorded_events(conn, caller, line, delta, channel=channel, until=until, floor=floor, limit=more)
            rows = _newest([*rows, *(row for row in found if before is None or (row.at, row.mark) < before)], more)
    return page(rows, limit, show=lambda row: _show(line, row), key=_key)


def _rows(
    conn: sa.Connection, delta_id: int, channel: str | None, mark: tuple[int, str] | None, limit: int
) -> list[EventRow]:
    return _newest(queries.event_rows(conn, delta_id, channel=channel, mark=mark, limit=limit), limit)


def _newest(rows: Sequence[EventRow], limit: int) -> list[EventRow]:
    return sorted(rows, key=lambda row: (row.at, row.mark), reverse=True)[:limit]


def _key(row: EventRow) -> str:
    return f"{row.at}/{row.mark}"


def _show(line: LineRef, row: EventRow) -> LogEntry:
    return LogEntry(
        at=rfc3339(row.at),
        event=row.event,
        actor=row.actor or "registry",
        ref=f"{line}:v{row.number}" if row.number else str(line),
        channel=row.channel,
        outcome=row.outcome,
        text=row.text or "",
    )
