"""The events of a line, in one shape: at, mark, event, number, actor, channel, outcome, text.

`mark` breaks ties between events of the same microsecond, so that a list can continue after it.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from deltareg.db.lines.rows import EventRow
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.tables import channels, principals, revisions, revocations, verdicts, versions
from deltareg.db.verdicts.verdicts import name_of_variant

Mark = tuple[int, str]


def push_rows(conn: sa.Connection, delta_id: int, *, mark: Mark | None, limit: int) -> Sequence[EventRow]:
    """List pushes, newest first."""
    name = sa.literal("push-") + sa.cast(versions.c.id, sa.Text)
    query = (
        sa.select(
            versions.c.created_at.label("at"),
            name.label("mark"),
            sa.literal("push").label("event"),
            versions.c.number,
            principals.c.name.label("actor"),
            sa.null().label("channel"),
            sa.null().label("outcome"),
            versions.c.message.label("text"),
        )
        .outerjoin(principals, principals.c.id == versions.c.created_by)
        .where(versions.c.delta_id == delta_id)
    )
    return _page(conn, query, versions.c.created_at, name, mark, limit)


def verdict_rows(conn: sa.Connection, delta_id: int, *, mark: Mark | None, limit: int) -> Sequence[EventRow]:
    """List verdicts, newest first; a verdict on a variant of the base names the variant."""
    name = sa.literal("verdict-") + verdicts.c.id
    variant = name_of_variant()
    suite = verdicts.c.suite + sa.func.coalesce(sa.literal(" on ") + variant, "")
    query = (
        sa.select(
            verdicts.c.created_at.label("at"),
            name.label("mark"),
            sa.literal("verdict").label("event"),
            versions.c.number,
            principals.c.name.label("actor"),
            sa.null().label("channel"),
            verdicts.c.verdict.label("outcome"),
            suite.label("text"),
        )
        .join(versions, versions.c.id == verdicts.c.version_id)
        .outerjoin(principals, principals.c.id == verdicts.c.created_by)
        .where(versions.c.delta_id == delta_id)
    )
    return _page(conn, query, verdicts.c.created_at, name, mark, limit)


def move_rows(
    conn: sa.Connection, delta_id: int, *, channel: str | None, mark: Mark | None, limit: int
) -> Sequence[EventRow]:
    """List channel moves, newest first."""
    name = sa.literal("move-") + sa.cast(revisions.c.id, sa.Text)
    query = (
        sa.select(
            revisions.c.created_at.label("at"),
            name.label("mark"),
            revisions.c.kind.label("event"),
            versions.c.number,
            principals.c.name.label("actor"),
            channels.c.name.label("channel"),
            sa.null().label("outcome"),
            revisions.c.reason.label("text"),
        )
        .join(channels, channels.c.id == revisions.c.channel_id)
        .outerjoin(versions, versions.c.id == revisions.c.version_id)
        .join(principals, principals.c.id == revisions.c.actor_id)
        .where(channels.c.delta_id == delta_id)
    )
    if channel is not None:
        query = query.where(channels.c.name == channel)
    return _page(conn, query, revisions.c.created_at, name, mark, limit)


def revoke_rows(conn: sa.Connection, delta_id: int, *, mark: Mark | None, limit: int) -> Sequence[EventRow]:
    """List revocations, ordered by when they began, newest first."""
    name = sa.literal("revoke-") + sa.cast(revocations.c.id, sa.Text)
    at, actor, text = revocations.c.created_at, revocations.c.actor_id, revocations.c.reason
    query = _select_revocations("revoke", at, name, actor, text, delta_id)
    return _page(conn, query, at, name, mark, limit)


def unrevoke_rows(conn: sa.Connection, delta_id: int, *, mark: Mark | None, limit: int) -> Sequence[EventRow]:
    """List ended revocations, ordered by when they ended, newest first."""
    name = sa.literal("unrevoke-") + sa.cast(revocations.c.id, sa.Text)
    at, actor, text = revocations.c.ended_at, revocations.c.ended_by, revocations.c.end_reason
    query = _select_revocations("unrevoke", at, name, actor, text, delta_id)
    return _page(conn, query.where(at.is_not(None)), at, name, mark, limit)


def _select_revocations(
    event: str,
    at: sa.ColumnElement[int],
    name: sa.ColumnElement[str],
    actor: sa.ColumnElement[int],
    text: sa.ColumnElement[str],
    delta_id: int,
) -> sa.Select[*tuple[Any, ...]]:
    return (
        sa.select(
            at.label("at"),
            name.label("mark"),
            sa.literal(event).label("event"),
            versions.c.number,
            principals.c.name.label("actor"),
            sa.null().label("channel"),
            sa.null().label("outcome"),
            text.label("text"),
        )
        .join(versions, versions.c.id == revocations.c.version_id)
        .join(principals, principals.c.id == actor)
        .where(versions.c.delta_id == delta_id)
    )


def _page(
    conn: sa.Connection,
    query: sa.Select[*tuple[Any, ...]],
    at: sa.ColumnElement[int],
    name: sa.ColumnElement[str],
    mark: Mark | None,
    limit: int,
) -> Sequence[EventRow]:
    if mark is not None:
        query = query.where(sa.or_(at < mark[0], sa.and_(at == mark[0], name < mark[1])))
    return fetch_all(conn, query.order_by(at.desc(), name.desc()).limit(limit), EventRow)
