"""The events of a line, in one shape: at, mark, event, number, actor, channel, outcome, text.

`mark` breaks ties between events of the same microsecond, so that a list can continue after it. Each
kind of event is read newest first by an index and no further than a page; the moves of each channel
by themselves, as no index has those of a line in order.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from deltareg.db.lines.rows import EventRow
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.tables import channels, line_verdicts, principals, revisions, revocations, verdicts, versions
from deltareg.db.verdicts.verdicts import name_of_variant

Mark = tuple[int, str]
_Select = sa.Select[*tuple[Any, ...]]


def event_rows(
    conn: sa.Connection, delta_id: int, *, channel: str | None, mark: Mark | None, limit: int
) -> Sequence[EventRow]:
    """List up to `limit` events of each kind, the newest of it before a mark; in no order.

    Args:
        conn: A transaction.
        delta_id: The line.
        channel: Only the moves of this channel.
        mark: The last event of the page before.
        limit: How many of each kind at most.
    """
    parts = list(_moves(conn, delta_id, channel))
    if channel is None:
        parts += [_pushes(delta_id), _verdicts(delta_id), _revocations(delta_id), _ended_revocations(delta_id)]
    if not parts:
        return []
    limited = [_limit(*part, mark=mark, limit=limit) for part in parts]
    return fetch_all(conn, sa.union_all(*(sa.select(part.subquery()) for part in limited)), EventRow)


_Part = tuple[_Select, sa.ColumnElement[int], sa.ColumnElement[str]]
"""A query for events, its time, and its mark."""


def _select(
    event: sa.ColumnElement[Any],
    at: sa.ColumnElement[int],
    mark: sa.ColumnElement[str],
    *,
    channel: sa.ColumnElement[Any] | None = None,
    outcome: sa.ColumnElement[Any] | None = None,
    text: sa.ColumnElement[str],
) -> _Select:
    return sa.select(
        at.label("at"),
        mark.label("mark"),
        event.label("event"),
        versions.c.number,
        principals.c.name.label("actor"),
        (sa.null() if channel is None else channel).label("channel"),
        (sa.null() if outcome is None else outcome).label("outcome"),
        text.label("text"),
    )


def _pushes(delta_id: int) -> _Part:
    at, mark = versions.c.created_at, sa.literal("push-") + sa.cast(versions.c.id, sa.Text)
    query = _select(sa.literal("push"), at, mark, text=versions.c.message)
    query = query.outerjoin(principals, principals.c.id == versions.c.created_by)
    return query.where(versions.c.delta_id == delta_id), at, mark


def _verdicts(delta_id: int) -> _Part:
    """Select verdicts; one on a variant of the base names the variant."""
    at, mark = line_verdicts.c.created_at, sa.literal("verdict-") + line_verdicts.c.verdict_id
    suite = verdicts.c.suite + sa.func.coalesce(sa.literal(" on ") + name_of_variant(), "")
    query = (
        _select(sa.literal("verdict"), at, mark, outcome=verdicts.c.verdict, text=suite)
        .select_from(line_verdicts)
        .join(verdicts, verdicts.c.id == line_verdicts.c.verdict_id)
        .join(versions, versions.c.id == verdicts.c.version_id)
        .outerjoin(principals, principals.c.id == verdicts.c.created_by)
    )
    return query.where(line_verdicts.c.delta_id == delta_id), at, mark


def _moves(conn: sa.Connection, delta_id: int, channel: str | None) -> Iterator[_Part]:
    """Select the moves of each channel."""
    of_line = sa.select(channels.c.id).where(channels.c.delta_id == delta_id)
    if channel is not None:
        of_line = of_line.where(channels.c.name == channel)
    at, mark = revisions.c.created_at, sa.literal("move-") + sa.cast(revisions.c.id, sa.Text)
    query = (
        _select(revisions.c.kind, at, mark, channel=channels.c.name, text=revisions.c.reason)
        .join(channels, channels.c.id == revisions.c.channel_id)
        .outerjoin(versions, versions.c.id == revisions.c.version_id)
        .join(principals, principals.c.id == revisions.c.actor_id)
    )
    for channel_id in conn.execute(of_line).scalars():
        yield query.where(revisions.c.channel_id == channel_id), at, mark


def _revocations(delta_id: int) -> _Part:
    at, mark = revocations.c.created_at, sa.literal("revoke-") + sa.cast(revocations.c.id, sa.Text)
    return _select_revoked("revoke", at, mark, revocations.c.actor_id, revocations.c.reason, delta_id), at, mark


def _ended_revocations(delta_id: int) -> _Part:
    """Select ended revocations, ordered by when they ended."""
    at, mark = revocations.c.ended_at, sa.literal("unrevoke-") + sa.cast(revocations.c.id, sa.Text)
    query = _select_revoked("unrevoke", at, mark, revocations.c.ended_by, revocations.c.end_reason, delta_id)
    return query.where(at.is_not(None)), at, mark


def _select_revoked(
    event: str,
    at: sa.ColumnElement[int],
    mark: sa.ColumnElement[str],
    actor_id: sa.ColumnElement[int],
    text: sa.ColumnElement[str],
    delta_id: int,
) -> _Select:
    return (
        _select(sa.literal(event), at, mark, text=text)
        .join(versions, versions.c.id == revocations.c.version_id)
        .join(principals, principals.c.id == actor_id)
        .where(versions.c.delta_id == delta_id)
    )


def _limit(
    query: _Select, at: sa.ColumnElement[int], name: sa.ColumnElement[str], *, mark: Mark | None, limit: int
) -> _Select:
    if mark is not None:
        # The first of the two says the same again, for the index.
        query = query.where(at <= mark[0], sa.or_(at < mark[0], name < mark[1]))
    return query.order_by(at.desc(), name.desc()).limit(limit)
