"""Pins: what a channel serves, or may be rolled back to, keeps its bytes."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.channels.floors import floor_columns
from deltareg.db.channels.rows import PinnedRow
from deltareg.db.sql.clock import US_PER_S, now_us
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.tables import channels, revisions, versions

_DAY_US = 86_400 * US_PER_S
_MOVES = ("promote", "rollback")


@dataclass(frozen=True, slots=True)
class PinWindow:
    """How long a channel pins a version that it served, so that it can be rolled back to.

    The policy of a channel may set another window, which takes precedence.

    Attributes:
        moves: For this many later moves of the channel,
        us: and for this many microseconds after the next move, whichever is longer.
    """

    moves: int
    us: int


@dataclass(frozen=True, slots=True)
class AskedWindow:
    """A `PinWindow` whose values a prepared statement takes as parameters."""

    moves: sa.BindParameter[int]
    us: sa.BindParameter[int]


def pinned_versions(conn: sa.Connection, *, window: PinWindow) -> Sequence[PinnedRow]:
    """List (version_id, policy) of versions that channels serve or may roll back to.

    Deleted versions are left out. A version is listed once for each time that a channel served it.
    """
    served = _select_served(window)
    query = (
        sa.select(served.c.version_id, channels.c.policy, *floor_columns())
        .join(channels, channels.c.id == served.c.channel_id)
        .join(versions, versions.c.id == served.c.version_id)
        .where(_is_in(served), versions.c.deleted_at.is_(None))
        .order_by(served.c.version_id, served.c.channel_id, served.c.behind)
    )
    return fetch_all(conn, query, PinnedRow)


def is_pinned(window: PinWindow | AskedWindow, *, lines: sa.Select[int]) -> sa.ColumnElement[bool]:
    """Whether a channel serves a version, or served it within the window of a rollback.

    Args:
        window: How long channels pin what they served.
        lines: The lines of the versions in question; no other ledgers are read.
    """
    served = _select_served(window, lines)
    # Asked as a list, which is made once, and not of each version by itself.
    pinned = sa.select(served.c.version_id).where(served.c.version_id.is_not(None), _is_in(served))
    return versions.c.id.in_(pinned)


def pins(conn: sa.Connection, version_id: int, *, window: PinWindow) -> bool:
    """Whether any channel pins a version, by its own places in ledgers: no ledger is read as a whole."""
    last = (
        sa.select(revisions.c.channel_id, sa.func.max(revisions.c.number).label("number"))
        .where(revisions.c.version_id == version_id, revisions.c.kind.in_(_MOVES))
        .group_by(revisions.c.channel_id)
        .subquery()
    )
    later = (revisions.c.channel_id == last.c.channel_id, revisions.c.number > last.c.number)
    moves = sa.and_(*later, revisions.c.kind.in_(_MOVES))
    ended_at = sa.select(revisions.c.created_at).where(moves).order_by(revisions.c.number).limit(1)
    behind = sa.select(sa.func.count()).select_from(revisions).where(moves)
    served = (
        sa.select(behind.scalar_subquery().label("behind"), ended_at.scalar_subquery().label("ended_at"))
        .add_columns(*_window_columns(window))
        .select_from(last.join(channels, channels.c.id == last.c.channel_id))
        .where(channels.c.deleted_at.is_(None))
        .subquery()
    )
    return bool(conn.execute(sa.select(sa.exists().where(_is_in(served)))).scalar_one())


def _is_in(served: sa.Subquery) -> sa.ColumnElement[bool]:
    now = sa.select(now_us()).scalar_subquery()  # asked once, not of each row
    return sa.or_(
        served.c.ended_at.is_(None), served.c.behind <= served.c.moves, served.c.ended_at >= now - served.c.us
    )


def _window_columns(window: PinWindow | AskedWindow) -> tuple[sa.ColumnElement[int], sa.ColumnElement[int]]:
    rollback = channels.c.policy["rollback"]
    days = rollback["days"].as_integer()
    return (
        sa.func.coalesce(rollback["revisions"].as_integer(), window.moves).label("moves"),
        sa.func.coalesce(sa.cast(days, sa.BigInteger) * _DAY_US, window.us).label("us"),
    )


def _select_served(window: PinWindow | AskedWindow, lines: sa.Select[int] | None = None) -> sa.Subquery:
    """Select every time that a channel served a version: how many moves ago, and its window."""
    channel, newest_first = revisions.c.channel_id, revisions.c.number.desc()
    rank = sa.func.row_number().over(partition_by=channel, order_by=newest_first)
    # The move after it, which ended its time; NULL for the current one.
    ended_at = sa.func.lag(revisions.c.created_at).over(partition_by=channel, order_by=newest_first)
    query = (
        sa.select(channel, revisions.c.version_id, (rank - 1).label("behind"), ended_at.label("ended_at"))
        .add_columns(*_window_columns(window))
        .join(channels, channels.c.id == revisions.c.channel_id)
        .where(sa.or_(*(revisions.c.kind == kind for kind in _MOVES)), channels.c.deleted_at.is_(None))
    )
    if lines is not None:
        query = query.where(channels.c.delta_id.in_(lines))
    return query.subquery()
