"""Agents and the channels that they follow, with the current state of those channels."""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from deltareg.db.access.in_sight import in_sight
from deltareg.db.access.sight import VisibleLines
from deltareg.db.channels.fleet_rows import AgentRow, FollowerRow, FollowerStateRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.sql.page_size import rows_at_most
from deltareg.db.sql.upsert import insert
from deltareg.db.tables import agents, channels, deltas, followers, namespaces, principals, revisions, versions

_OBSERVED = ("revision", "version", "digest", "state", "error", "base", "trouble")


def see_agent(conn: sa.Connection, name: str, *, principal_id: int, engine: str, every_us: int) -> int | None:
    """Record that an agent reported and return its id; None if another principal has the name."""
    added = insert(conn, agents).values(
        name=name, principal_id=principal_id, engine=engine, every_us=every_us, seen_at=now_us()
    )
    new = added.excluded
    upsert = added.on_conflict_do_update(
        index_elements=["name"],
        set_={"engine": new.engine, "every_us": new.every_us, "seen_at": new.seen_at},
        where=agents.c.principal_id == principal_id,
    )
    return conn.execute(upsert.returning(agents.c.id)).scalar()


def channel_ids(conn: sa.Connection, names: Collection[tuple[str, str, str]]) -> dict[tuple[str, str, str], int]:
    """Return the ids of channels by (namespace, line, channel); missing channels are left out."""
    columns = (namespaces.c.name, deltas.c.name, channels.c.name)
    query = (
        sa.select(channels.c.id, *columns)
        .join(deltas, deltas.c.id == channels.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .where(sa.tuple_(*columns).in_(names), channels.c.deleted_at.is_(None))
    )
    return {(row[1], row[2], row[3]): row[0] for row in conn.execute(query)}


def put_followers(conn: sa.Connection, agent_id: int, observed: Mapping[int, Mapping[str, object]]) -> None:
    """Record what an agent serves, by channel id; `since` stays while version and state do."""
    added = insert(conn, followers).values(since=now_us())
    new = added.excluded
    is_same = sa.and_(followers.c.state == new.state, followers.c.digest.is_not_distinct_from(new.digest))
    since = sa.case((is_same, followers.c.since), else_=new.since)
    changed = {name: new[name] for name in _OBSERVED} | {"since": since}
    upsert = added.on_conflict_do_update(index_elements=["agent_id", "channel_id"], set_=changed)
    rows = [{"agent_id": agent_id, "channel_id": channel_id, **state} for channel_id, state in sorted(observed.items())]
    if rows:
        conn.execute(upsert, rows)


def note_told(conn: sa.Connection, follower_id: int, *, before: str | None, now: str) -> bool:
    """Record the drift that an event reported of a follower; False if it was changed meanwhile."""
    mine = followers.c.id == follower_id
    was = followers.c.told.is_not_distinct_from(before)
    result = conn.execute(sa.update(followers).where(mine, was).values(told=now))
    return result.rowcount == 1


def keep_followers(conn: sa.Connection, agent_id: int, channel_ids: Sequence[int]) -> None:
    """Delete the followers of an agent for channels that it does not follow any more."""
    conn.execute(
        sa.delete(followers).where(followers.c.agent_id == agent_id, followers.c.channel_id.not_in(channel_ids))
    )


def agent_row(conn: sa.Connection, name: str) -> AgentRow | None:
    """Find an agent."""
    return fetch_one(conn, sa.select(agents).where(agents.c.name == name), AgentRow)


def delete_agent(conn: sa.Connection, agent_id: int) -> None:
    """Delete an agent and its followers."""
    conn.execute(sa.delete(agents).where(agents.c.id == agent_id))


def follower_rows(
    conn: sa.Connection,
    *,
    delta_id: int | None,
    channel_id: int | None,
    digest: str | None = None,
    sight: VisibleLines | None = None,
    after: int | None,
    limit: int,
) -> Sequence[FollowerRow]:
    """List followers in the order in which they were added: of a line, of a channel or all.

    With a digest, or the beginning of one, only those that serve such a version.
    """
    query = in_sight(select_followers(), sight).order_by(followers.c.id).limit(rows_at_most(limit))
    if delta_id is not None:
        query = query.where(channels.c.delta_id == delta_id)
    if channel_id is not None:
        query = query.where(channels.c.id == channel_id)
    if digest is not None:
        query = query.where(followers.c.digest.startswith(digest, autoescape=True))
    if after is not None:
        query = query.where(followers.c.id > after)
    return fetch_all(conn, query, FollowerRow)


def states_of_followers(conn: sa.Connection) -> Sequence[FollowerStateRow]:
    """List the state of every follower, with only the columns that are needed to count them."""
    query = (
        sa.select(
            followers.c.state,
            followers.c.digest,
            followers.c.base,
            agents.c.every_us,
            (now_us() - agents.c.seen_at).label("age_us"),
            revisions.c.digest.label("desired_digest"),
            _is_revoked(),
        )
        .join(agents, agents.c.id == followers.c.agent_id)
        .join(channels, channels.c.id == followers.c.channel_id)
        .outerjoin(
            revisions, sa.and_(revisions.c.channel_id == channels.c.id, revisions.c.number == channels.c.revision)
        )
    )
    return fetch_all(conn, query, FollowerStateRow)


@cache
def select_followers() -> sa.Select[*tuple[Any, ...]]:
    """Start a query for followers, each with the state of its channel."""
    newest = sa.and_(revisions.c.channel_id == channels.c.id, revisions.c.number == channels.c.revision)
    return (
        sa.select(
            followers,
            agents.c.name.label("agent"),
            agents.c.engine,
            agents.c.seen_at,
            agents.c.every_us,
            (now_us() - agents.c.seen_at).label("age_us"),
            principals.c.name.label("owner"),
            namespaces.c.name.label("namespace"),
            deltas.c.name.label("line"),
            channels.c.name.label("channel"),
            channels.c.revision.label("desired_revision"),
            versions.c.number.label("desired_version"),
            revisions.c.digest.label("desired_digest"),
            _is_revoked(),
        )
        .join(agents, agents.c.id == followers.c.agent_id)
        .join(principals, principals.c.id == agents.c.principal_id)
        .join(channels, channels.c.id == followers.c.channel_id)
        .join(deltas, deltas.c.id == channels.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .outerjoin(revisions, newest)
        .outerjoin(versions, versions.c.id == revisions.c.version_id)
    )


def _is_revoked() -> sa.Label[bool]:
    """Whether the version that a follower serves was revoked: looked up by its number, one for each follower.

    Asked for as EXISTS, PostgreSQL may read all versions into a hash for a page of followers.
    """
    served = versions.alias("served")
    is_revoked = sa.select(served.c.revoked_at.is_not(None)).where(
        served.c.delta_id == channels.c.delta_id,
        served.c.number == followers.c.version,
        served.c.manifest_digest == followers.c.digest,
    )
    found = is_revoked.correlate(channels, followers).scalar_subquery()
    return sa.func.coalesce(found, sa.false()).label("is_revoked")
