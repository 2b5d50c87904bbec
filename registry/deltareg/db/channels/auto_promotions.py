"""Channels that promote by themselves what passes, and what they could promote."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.upsert import insert
from deltareg.db.tables import (
    audit,
    auto_promotions,
    channels,
    deltas,
    namespaces,
    principals,
    requests,
    revisions,
    versions,
)


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A channel that promotes by itself, and the principal who set that; `is_live` unless disabled."""

    channel_id: int
    channel: str
    namespace: str
    line: str
    principal_id: int
    principal: str
    is_live: bool


def set_rule(conn: sa.Connection, channel_id: int, *, principal_id: int) -> None:
    """Let a channel promote by itself in the name of a principal, in place of who did before."""
    added = insert(conn, auto_promotions).values(channel_id=channel_id, principal_id=principal_id)
    set_ = {"principal_id": principal_id, "created_at": now_us()}
    conn.execute(added.on_conflict_do_update(index_elements=[auto_promotions.c.channel_id], set_=set_))


def end_rule(conn: sa.Connection, channel_id: int) -> None:
    """Let a channel promote nothing by itself any more."""
    conn.execute(sa.delete(auto_promotions).where(auto_promotions.c.channel_id == channel_id))


def rule_rows(conn: sa.Connection, *, namespace: str | None = None, line: str | None = None) -> Sequence[RuleRow]:
    """List the channels that promote by themselves: all, or those of a line."""
    query = (
        sa.select(
            auto_promotions.c.channel_id,
            channels.c.name.label("channel"),
            namespaces.c.name.label("namespace"),
            deltas.c.name.label("line"),
            auto_promotions.c.principal_id,
            principals.c.name.label("principal"),
            principals.c.disabled_at.is_(None).label("is_live"),
        )
        .join(channels, channels.c.id == auto_promotions.c.channel_id)
        .join(deltas, deltas.c.id == channels.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .join(principals, principals.c.id == auto_promotions.c.principal_id)
        .where(channels.c.deleted_at.is_(None), deltas.c.deleted_at.is_(None))
        .order_by(auto_promotions.c.channel_id)
    )
    if namespace is not None:
        query = query.where(namespaces.c.name == namespace, deltas.c.name == line)
    return fetch_all(conn, query, RuleRow)


def newer_versions(conn: sa.Connection, channel_id: int, *, limit: int) -> Sequence[int]:
    """List the row ids of versions that are newer than all that a channel ever served, newest first.

    Deleted and revoked ones are left out.
    """
    served = versions.alias("served")
    newest = (
        sa.select(sa.func.coalesce(sa.func.max(served.c.number), 0))
        .select_from(revisions)
        .join(served, served.c.id == revisions.c.version_id)
        .where(revisions.c.channel_id == channel_id)
        .scalar_subquery()
    )
    query = (
        sa.select(versions.c.id)
        .join(channels, channels.c.delta_id == versions.c.delta_id)
        .where(
            channels.c.id == channel_id,
            versions.c.number > newest,
            versions.c.deleted_at.is_(None),
            versions.c.revoked_at.is_(None),
        )
        .order_by(versions.c.number.desc())
        .limit(limit)
    )
    return conn.execute(query).scalars().all()


def is_asked_for(conn: sa.Connection, channel_id: int, version_id: int) -> bool:
    """Whether people decide, or have decided, about a version on a channel: a request says so.

    One that became stale says nothing: the channel or its policy has changed since.
    """
    query = sa.select(requests.c.id).where(
        requests.c.channel_id == channel_id, requests.c.version_id == version_id, requests.c.state != "stale"
    )
    return conn.execute(query.limit(1)).first() is not None


def newest_change(conn: sa.Connection) -> int:
    """Return the number of the newest row of the audit trail: while it stays, nothing has changed."""
    return conn.execute(sa.select(sa.func.max(audit.c.id))).scalar() or 0
