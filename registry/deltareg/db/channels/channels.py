"""Channels, their ledgers and quarantines."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from deltareg.db.channels.floors import floor_columns
from deltareg.db.channels.rows import ChannelRow, PointerRow, QuarantinedRow, RevisionRow, StandingRow
from deltareg.db.sql.among import among, write_ids
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.sql.prepared import PreparedQuery, PreparedStatement
from deltareg.db.tables import (
    bases,
    channels,
    deltas,
    followers,
    freezes,
    namespaces,
    principals,
    quarantines,
    requests,
    reviews,
    revisions,
    tokens,
    versions,
)


def channel_row(conn: sa.Connection, delta_id: int, name: str, *, lock: bool = False) -> ChannelRow | None:
    """Find a channel; with `lock`, nobody else can move it until the transaction ends."""
    return (_LOCKED if lock else _OF_LINE).one(conn, delta_id=delta_id, name=name)


def channel_named(conn: sa.Connection, namespace: str, line: str, name: str) -> ChannelRow | None:
    """Find a channel by the names of its namespace, its line and itself."""
    return _NAMED.one(conn, namespace=namespace, line=line, name=name)


def channel_by_id(conn: sa.Connection, channel_id: int, *, lock: bool = False) -> ChannelRow:
    """Return a channel that is known to exist; with `lock`, nobody else can move it meanwhile."""
    return (_BY_ID_LOCKED if lock else _BY_ID).require(conn, channel_id=channel_id)


def channel_rows(conn: sa.Connection, delta_id: int) -> Sequence[ChannelRow]:
    """List the channels of a line in the order in which they were created."""
    live = sa.and_(channels.c.delta_id == delta_id, channels.c.deleted_at.is_(None))
    query = select_channels().where(live).order_by(channels.c.id)
    return fetch_all(conn, query, ChannelRow)


def newest_revision(conn: sa.Connection, namespace: str, line: str, name: str) -> int | None:
    """Return the number of a channel's newest revision; None if there is no such channel."""
    query = (
        sa.select(channels.c.revision)
        .join(deltas, deltas.c.id == channels.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .where(
            namespaces.c.name == namespace,
            deltas.c.name == line,
            channels.c.name == name,
            channels.c.deleted_at.is_(None),
        )
    )
    return conn.execute(query).scalar()


def add_channel(conn: sa.Connection, delta_id: int, name: str, *, policy: Mapping[str, object]) -> None:
    """Insert a channel at revision 0; do nothing if it was created meanwhile."""
    try:
        with conn.begin_nested():
            conn.execute(sa.insert(channels).values(delta_id=delta_id, name=name, policy=dict(policy)))
    except IntegrityError:
        return


def delete_channel(conn: sa.Connection, channel_id: int) -> None:
    """Mark a channel that the caller has locked deleted, and forget who followed it; its ledger stays."""
    conn.execute(sa.delete(followers).where(followers.c.channel_id == channel_id))
    conn.execute(sa.update(channels).where(channels.c.id == channel_id).values(deleted_at=now_us()))


def restore_channel(conn: sa.Connection, delta_id: int, name: str) -> bool:
    """Undo the deletion of a channel of a line; return False if none of that name was deleted."""
    gone = sa.and_(channels.c.delta_id == delta_id, channels.c.name == name, channels.c.deleted_at.is_not(None))
    return conn.execute(sa.update(channels).where(gone).values(deleted_at=None)).rowcount > 0


def replace_policy(conn: sa.Connection, channel_id: int, *, policy: Mapping[str, object]) -> None:
    """Replace the policy of a channel that the caller has locked."""
    update = sa.update(channels).where(channels.c.id == channel_id)
    conn.execute(update.values(policy=dict(policy)))


def advance(conn: sa.Connection, channel_id: int, *, seen: int) -> bool:
    """Move a channel from revision `seen` to the next; return False if it has moved already."""
    update = (
        sa.update(channels).where(channels.c.id == channel_id, channels.c.revision == seen).values(revision=seen + 1)
    )
    return conn.execute(update).rowcount == 1


def add_revision(conn: sa.Connection, **values: object) -> int:
    """Append a revision to the ledger and return its row id."""
    insert = sa.insert(revisions).values(**values).returning(revisions.c.id)
    return int(conn.execute(insert).scalar_one())


def add_freeze_end(conn: sa.Connection, revision_id: int, *, ends_at: int) -> None:
    """Record when the freeze of a revision ends by itself, in µs since the epoch."""
    conn.execute(sa.insert(freezes).values(revision_id=revision_id, ends_at=ends_at))


def revision_rows(
    conn: sa.Connection, channel_id: int, *, before: int | None = None, limit: int = 50
) -> Sequence[RevisionRow]:
    """List a ledger, newest first."""
    query = select_revisions().where(revisions.c.channel_id == channel_id)
    if before is not None:
        query = query.where(revisions.c.number < before)
    return fetch_all(conn, query.order_by(revisions.c.number.desc()).limit(limit), RevisionRow)


def revision_at(
    conn: sa.Connection, channel_id: int, *, number: int | None = None, at_us: int | None = None
) -> RevisionRow | None:
    """Return a revision by its number, or the newest at a given time, or the newest of all."""
    if number is not None:
        return _REVISION.one(conn, channel_id=channel_id, number=number)
    query = select_revisions().where(revisions.c.channel_id == channel_id)
    if at_us is not None:
        query = query.where(revisions.c.created_at <= at_us)
    return fetch_one(conn, query.order_by(revisions.c.number.desc()).limit(1), RevisionRow)


def version_back(conn: sa.Connection, channel_id: int, *, number: int, back: int) -> RevisionRow | None:
    """Return the move that is `back` moves before the one in effect at a revision.

    Freezes and unfreezes are no moves and are not counted.
    """
    query = select_revisions().where(
        revisions.c.channel_id == channel_id,
        revisions.c.number <= number,
        revisions.c.kind.in_(["promote", "rollback"]),
    )
    newest_first = query.order_by(revisions.c.number.desc())
    return fetch_one(conn, newest_first.offset(back).limit(1), RevisionRow)


def pointers(conn: sa.Connection, delta_ids: Iterable[int]) -> Sequence[PointerRow]:
    """List (delta_id, channel, version number, version id) of channels that serve a version."""
    return _POINTERS.all(conn, lines=write_ids(delta_ids))


def begun_channels(conn: sa.Connection, delta_ids: Iterable[int]) -> set[tuple[int, str]]:
    """Return the channels (delta_id, name) of lines that were moved or frozen at least once."""
    begun = sa.and_(channels.c.delta_id.in_(list(delta_ids)), channels.c.revision > 0, channels.c.deleted_at.is_(None))
    return {
        (row.delta_id, row.name) for row in conn.execute(sa.select(channels.c.delta_id, channels.c.name).where(begun))
    }


def standings(conn: sa.Connection, delta_ids: Iterable[int]) -> Sequence[StandingRow]:
    """List (delta_id, name, policy, kind, ends_at) of the channels that a freeze or a window may stop."""
    return _STANDINGS.all(conn, lines=write_ids(delta_ids))


def serving_channels(conn: sa.Connection, version_id: int) -> Sequence[str]:
    """List the names of the channels that serve a version now, in the order of their creation."""
    return [row.name for row in serving_rows(conn, version_id)]


def serving_rows(conn: sa.Connection, version_id: int) -> Sequence[ChannelRow]:
    """List the channels that serve a version now, as full rows."""
    newest = sa.and_(
        revisions.c.channel_id == channels.c.id,
        revisions.c.number == channels.c.revision,
        channels.c.deleted_at.is_(None),
    )
    query = (
        select_channels().join(revisions, newest).where(revisions.c.version_id == version_id).order_by(channels.c.id)
    )
    return fetch_all(conn, query, ChannelRow)


def add_quarantine(conn: sa.Connection, channel_id: int, version_id: int, *, revision_id: int) -> None:
    """Quarantine a version on a channel unless it is quarantined there already."""
    if standing_quarantine(conn, channel_id, version_id) is None:
        conn.execute(
            sa.insert(quarantines).values(channel_id=channel_id, version_id=version_id, revision_id=revision_id)
        )


def standing_quarantine(conn: sa.Connection, channel_id: int, version_id: int) -> int | None:
    """Return the id of the standing quarantine of a version on a channel; None if there is none."""
    return _QUARANTINE.fetch_int(conn, channel_id=channel_id, version_id=version_id)


def quarantined_numbers(conn: sa.Connection, channel_ids: Sequence[int]) -> dict[int, list[int]]:
    """List the numbers of the versions quarantined on channels, by channel."""
    numbers: dict[int, list[int]] = {}
    for row in _QUARANTINED.all(conn, channels=write_ids(channel_ids)):
        numbers.setdefault(row.channel_id, []).append(row.number)
    return numbers


def clear_quarantine(conn: sa.Connection, quarantine_id: int, *, cleared_by: int, reason: str) -> None:
    """End a quarantine; the row stays."""
    conn.execute(
        sa.update(quarantines)
        .where(quarantines.c.id == quarantine_id)
        .values(cleared_at=now_us(), cleared_by=cleared_by, clear_reason=reason)
    )


@cache
def select_channels() -> sa.Select[*tuple[Any, ...]]:
    """Start a query for channels, with the floors of the server and of their namespaces."""
    return sa.select(channels, *floor_columns())


@cache
def select_revisions(start: sa.FromClause = revisions) -> sa.Select[*tuple[Any, ...]]:
    """Start a query for revisions, with the names of everything that they refer to.

    Args:
        start: The revisions, with what says which: PostgreSQL reads what stands behind the eighth table last.
    """
    previous, reviewer = versions.alias("previous"), principals.alias("reviewer")
    return (
        sa.select(
            revisions,
            tokens.c.claims,
            versions.c.number.label("version"),
            versions.c.revoked_at,
            previous.c.number.label("previous"),
            principals.c.name.label("actor"),
            freezes.c.ends_at,
            requests.c.id.label("request"),
            reviewer.c.name.label("reviewed_by"),
            reviews.c.message.label("review"),
            bases.c.name.label("base_name"),
        )
        .select_from(start)
        .outerjoin(versions, versions.c.id == revisions.c.version_id)
        .outerjoin(bases, bases.c.id == versions.c.base_id)
        .outerjoin(previous, previous.c.id == revisions.c.previous_version_id)
        .join(principals, principals.c.id == revisions.c.actor_id)
        .outerjoin(tokens, tokens.c.id == revisions.c.token_id)
        .outerjoin(freezes, freezes.c.revision_id == revisions.c.id)
        .outerjoin(requests, requests.c.revision_id == revisions.c.id)
        .outerjoin(reviews, reviews.c.revision_id == revisions.c.id)
        .outerjoin(reviewer, reviewer.c.id == reviews.c.principal_id)
    )


_NAMED: Final = PreparedQuery(
    select_channels()
    .join(deltas, deltas.c.id == channels.c.delta_id)
    .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
    .where(
        namespaces.c.name == sa.bindparam("namespace"),
        deltas.c.name == sa.bindparam("line"),
        channels.c.name == sa.bindparam("name"),
        channels.c.deleted_at.is_(None),
    ),
    ChannelRow,
)
_OF_ONE_LINE: Final = select_channels().where(
    channels.c.delta_id == sa.bindparam("delta_id"),
    channels.c.name == sa.bindparam("name"),
    channels.c.deleted_at.is_(None),
)
_OF_ONE_ID: Final = select_channels().where(channels.c.id == sa.bindparam("channel_id"))
_BY_ID: Final = PreparedQuery(_OF_ONE_ID, ChannelRow)
_BY_ID_LOCKED: Final = PreparedQuery(_OF_ONE_ID.with_for_update(of=channels), ChannelRow)
_OF_LINE: Final = PreparedQuery(_OF_ONE_LINE, ChannelRow)
_LOCKED: Final = PreparedQuery(_OF_ONE_LINE.with_for_update(of=channels), ChannelRow)
_REVISION: Final = PreparedQuery(
    select_revisions().where(
        revisions.c.channel_id == sa.bindparam("channel_id"), revisions.c.number == sa.bindparam("number")
    ),
    RevisionRow,
)
_QUARANTINE: Final = PreparedStatement(
    sa.select(quarantines.c.id).where(
        quarantines.c.channel_id == sa.bindparam("channel_id"),
        quarantines.c.version_id == sa.bindparam("version_id"),
        quarantines.c.cleared_at.is_(None),
    )
)
_QUARANTINED: Final = PreparedQuery(
    sa.select(quarantines.c.channel_id, versions.c.number)
    .join(versions, versions.c.id == quarantines.c.version_id)
    .where(among(quarantines.c.channel_id, sa.bindparam("channels", type_=sa.Text)), quarantines.c.cleared_at.is_(None))
    .order_by(versions.c.number),
    QuarantinedRow,
)
_LINES: Final = sa.bindparam("lines", type_=sa.Text)
_IS_NEWEST: Final = sa.and_(
    revisions.c.channel_id == channels.c.id, revisions.c.number == channels.c.revision, channels.c.deleted_at.is_(None)
)
_POINTERS: Final = PreparedQuery(
    sa.select(channels.c.delta_id, channels.c.name, versions.c.number, versions.c.id.label("version"))
    .join(revisions, _IS_NEWEST)
    .join(versions, versions.c.id == revisions.c.version_id)
    .where(among(channels.c.delta_id, _LINES))
    .order_by(channels.c.id),
    PointerRow,
)


def _select_standings() -> sa.Select[*tuple[Any, ...]]:
    """Select the channels of lines that may be frozen: most have neither a freeze nor a window."""
    each = (
        sa.select(
            channels.c.delta_id,
            channels.c.name,
            channels.c.policy,
            revisions.c.kind,
            freezes.c.ends_at,
            *floor_columns(),
            channels.c.id,
        )
        .join(revisions, _IS_NEWEST)
        .outerjoin(freezes, freezes.c.revision_id == revisions.c.id)
        .where(among(channels.c.delta_id, _LINES))
        .subquery("each_channel")
    )
    policies = (each.c.policy, each.c.server_floor, each.c.namespace_floor)
    windows = (policy["freeze"].as_string().is_not(None) for policy in policies)
    return (
        sa.select(*(column for column in each.c if column.name != "id"))
        .where(sa.or_(each.c.kind == "freeze", *windows))
        .order_by(each.c.id)
    )


_STANDINGS: Final = PreparedQuery(_select_standings(), StandingRow)
