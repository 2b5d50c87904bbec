"""Freezing a channel: while the newest revision is a freeze that has not ended, nothing moves it.

A freeze is a revision like any other and repeats what is served, so that whoever reads the newest
revision finds it there.
"""

from collections.abc import Sequence
from typing import TypeVar

import sqlalchemy as sa

from deltareg.db.channels import channels as queries
from deltareg.db.channels.rows import ChannelRow, RevisionRow
from deltareg.db.lines import versions as version_queries
from deltareg.db.sql.clock import read_clock
from deltareg.db.sql.row_protocols import FreezeColumns, FreezeNoteColumns, PolicyColumns
from deltareg.errors import Conflict, InvalidInput
from deltareg.gate.freeze_window import StandingWindow, standing_window
from deltareg.refs import LineRef
from deltareg.service.clock import moment_of, parse_time, rfc3339, rfc3339_of, rfc3339_or_none, rfc3339_seconds
from deltareg.service.ledger.append import append
from deltareg.service.ledger.channel_policy import policy_of
from deltareg.service.registry import Caller
from deltareg.wire import ChannelMove, MoveResult

Frozen = TypeVar("Frozen", bound=FreezeColumns)


def what_freezes(channel: PolicyColumns, newest: Frozen | None, *, at_us: int) -> Frozen | StandingWindow | None:
    """Return what freezes a channel at a time: a freeze by hand, else a window of the policy.

    Args:
        channel: The channel.
        newest: Its newest revision at that time; None for a channel that was never moved.
        at_us: The time, in µs since the epoch.
    """
    freeze = standing_freeze(newest, at_us=at_us)
    if freeze is not None:
        return freeze
    return standing_window(policy_of(channel).freeze, moment_of(at_us))


def standing_freeze(newest: Frozen | None, *, at_us: int) -> Frozen | None:
    """Return the newest revision of a channel if it freezes the channel at a time."""
    return newest if newest is not None and is_freezing(newest, at_us=at_us) else None


def is_freezing(revision: FreezeColumns, *, at_us: int) -> bool:
    """Whether a revision, while it is the newest, freezes its channel at a time."""
    is_open = revision.ends_at is None or revision.ends_at > at_us
    return bool(revision.kind == "freeze" and is_open)


def frozen_channels(conn: sa.Connection, delta_ids: Sequence[int]) -> dict[int, list[str]]:
    """Return, by line, the names of the channels that are frozen now, by hand or by a window."""
    now_us = read_clock(conn)
    names: dict[int, list[str]] = {}
    for row in queries.standings(conn, delta_ids):
        if what_freezes(row, row, at_us=now_us) is not None:
            names.setdefault(row.delta_id, []).append(row.name)
    return names


def tell_frozen(frozen: FreezeNoteColumns | StandingWindow, name: str) -> str:
    """Describe what freezes a channel, and why."""
    return str(frozen) if isinstance(frozen, StandingWindow) else tell_freeze(frozen, name)


def end_of(frozen: FreezeColumns | StandingWindow) -> str | None:
    """Return when a channel thaws by itself, as text; None where it does not."""
    if isinstance(frozen, StandingWindow):
        return rfc3339_of(frozen.ends)
    return rfc3339_or_none(frozen.ends_at)


def tell_freeze(freeze: FreezeNoteColumns, name: str) -> str:
    """Describe a freeze: by whom, since when and until when, and why."""
    since = rfc3339_seconds(freeze.created_at)
    until = "" if freeze.ends_at is None else f" until {rfc3339_seconds(freeze.ends_at)}"
    return f"{name} was frozen by {freeze.actor} at {since}{until}: {freeze.reason}"


def unfreezing(line: LineRef | str, name: str) -> str:
    """Return the command that ends a freeze."""
    return f"deltareg channel unfreeze {line} {name} -m REASON"


def freeze_channel(
    conn: sa.Connection,
    caller: Caller,
    line: LineRef,
    channel: ChannelRow,
    current: RevisionRow | None,
    move: ChannelMove,
) -> MoveResult:
    """Append a freeze; on a frozen channel it replaces the reason and the end.

    Raises:
        InvalidInput: The move has no reason, names a version, or its end is past.
    """
    _check(move)
    ends_at = None if move.until is None else parse_time(move.until)
    if ends_at is not None and ends_at <= read_clock(conn):
        raise InvalidInput(f"{move.until} has passed", fix="name a time to come")
    result, revision_id = _append(conn, caller, line, channel, current, move)
    if ends_at is not None:
        queries.add_freeze_end(conn, revision_id, ends_at=ends_at)
    return result


def unfreeze_channel(
    conn: sa.Connection,
    caller: Caller,
    line: LineRef,
    channel: ChannelRow,
    current: RevisionRow | None,
    move: ChannelMove,
) -> MoveResult:
    """Append a revision that ends a freeze.

    Raises:
        InvalidInput: The move has no reason, or names a version.
        Conflict: The channel is not frozen.
    """
    _check(move)
    if standing_freeze(current, at_us=read_clock(conn)) is None:
        raise Conflict(f"{line}@{channel.name} is not frozen", fix="nothing to do")
    return _append(conn, caller, line, channel, current, move)[0]


def freeze_again(conn: sa.Connection, caller: Caller, line: LineRef, channel: ChannelRow, freeze: RevisionRow) -> None:
    """Append a freeze again, after a move that broke through it."""
    until = None if freeze.ends_at is None else rfc3339(freeze.ends_at)
    reason = f"still, after #{channel.revision}: {freeze.reason}"[:2_000]
    move = ChannelMove(kind="freeze", reason=reason, until=until)
    current = queries.revision_at(conn, channel.id, number=channel.revision)
    _, revision_id = _append(conn, caller, line, channel, current, move)
    if freeze.ends_at is not None:
        queries.add_freeze_end(conn, revision_id, ends_at=freeze.ends_at)


def _check(move: ChannelMove) -> None:
    if not move.reason:
        raise InvalidInput(f"to {move.kind} a channel takes a reason", fix="say why: -m REASON")
    if (move.version, move.revision, move.steps) != (None, None, None):
        raise InvalidInput(f"to {move.kind} a channel names no version")


def _append(
    conn: sa.Connection,
    caller: Caller,
    line: LineRef,
    channel: ChannelRow,
    current: RevisionRow | None,
    move: ChannelMove,
) -> tuple[MoveResult, int]:
    version_id = None if current is None else current.version_id
    serves = None if version_id is None else version_queries.version_by_id(conn, version_id)
    return append(conn, caller, line, channel, current, move, serves=serves, verdict_ids=[])
