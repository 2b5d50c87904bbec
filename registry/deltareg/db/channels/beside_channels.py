"""Facts beside the channels of a line, in one statement: setbacks, open requests, followers."""

from typing import Any, Final

import sqlalchemy as sa

from deltareg.db.channels.channel_standing import ALL
from deltareg.db.channels.fleet import select_followers
from deltareg.db.channels.fleet_rows import FollowerRow
from deltareg.db.channels.request_rows import OpenRequestRow
from deltareg.db.channels.requests import is_open
from deltareg.db.channels.rows import ChannelNameRow, SetbackRow
from deltareg.db.sql.together import CombinedQuery, CombinedResult, QueryPart
from deltareg.db.tables import (
    channels,
    deltas,
    followers,
    namespaces,
    principals,
    quarantines,
    requests,
    revisions,
    versions,
)

_MOST_FOLLOWERS: Final = 200
_MOST_SETBACKS: Final = 50
_LINE: sa.BindParameter[int] = sa.bindparam("delta_id", type_=sa.BigInteger)
_ONE: sa.BindParameter[int] = sa.bindparam("channel_id", type_=sa.BigInteger)
_FROM: sa.BindParameter[int] = sa.bindparam("from_version", type_=sa.BigInteger)
_TO: sa.BindParameter[int] = sa.bindparam("to_version", type_=sa.BigInteger)
_ASKED: Final = sa.and_(
    channels.c.delta_id == _LINE, sa.or_(_ONE == ALL, channels.c.id == _ONE), channels.c.deleted_at.is_(None)
)


def select_setbacks() -> sa.Select[*tuple[Any, ...]]:
    """Start a query for standing quarantines, with the rollbacks that caused them."""
    return (
        sa.select(
            namespaces.c.name.label("namespace"),
            deltas.c.name.label("line"),
            channels.c.name.label("channel"),
            versions.c.number.label("version"),
            revisions.c.number.label("revision"),
            principals.c.name.label("actor"),
            revisions.c.reason,
            revisions.c.created_at,
        )
        .select_from(quarantines)
        .join(channels, channels.c.id == quarantines.c.channel_id)
        .join(deltas, deltas.c.id == channels.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .join(versions, versions.c.id == quarantines.c.version_id)
        .join(revisions, revisions.c.id == quarantines.c.revision_id)
        .join(principals, principals.c.id == revisions.c.actor_id)
        .where(quarantines.c.cleared_at.is_(None))
    )


def select_names() -> sa.Select[*tuple[Any, ...]]:
    """Start a query for the names of channels, with the version that each serves."""
    newest = sa.and_(revisions.c.channel_id == channels.c.id, revisions.c.number == channels.c.revision)
    return (
        sa.select(channels.c.name, versions.c.number.label("version"))
        .select_from(channels)
        .outerjoin(revisions, newest)
        .outerjoin(versions, versions.c.id == revisions.c.version_id)
    )


NAMES: Final = QueryPart(select_names().where(_ASKED), ChannelNameRow, order=(channels.c.id,))
SETBACKS: Final = QueryPart(
    select_setbacks().where(_ASKED, versions.c.number.between(_FROM, _TO)),
    SetbackRow,
    order=(versions.c.number.desc(), revisions.c.id.desc()),
)
NEWEST_SETBACKS: Final = QueryPart(
    select_setbacks().where(_ASKED),
    SetbackRow,
    order=(versions.c.number.desc(), revisions.c.id.desc()),
    limit=_MOST_SETBACKS,
)
OPEN: Final = QueryPart(
    sa.select(
        requests.c.id,
        channels.c.name.label("channel"),
        versions.c.number.label("version"),
        principals.c.name.label("opener"),
        requests.c.reason,
        requests.c.created_at,
    )
    .select_from(requests)
    .join(channels, channels.c.id == requests.c.channel_id)
    .join(versions, versions.c.id == requests.c.version_id)
    .join(principals, principals.c.id == requests.c.opener_id)
    .where(is_open(), _ASKED),
    OpenRequestRow,
    order=(requests.c.id,),
)
FOLLOWERS: Final = QueryPart(
    select_followers().where(channels.c.id == _ONE), FollowerRow, order=(followers.c.id,), limit=_MOST_FOLLOWERS
)
_OF_LINE: Final = CombinedQuery(NAMES, SETBACKS, OPEN)
_OF_CHANNEL: Final = CombinedQuery(NEWEST_SETBACKS, OPEN, FOLLOWERS)


def beside_line(conn: sa.Connection, delta_id: int, *, versions_from: int, versions_to: int) -> CombinedResult:
    """Fetch the channels of a line, their open requests, and the quarantines of some versions."""
    return _OF_LINE.run(conn, delta_id=delta_id, channel_id=ALL, from_version=versions_from, to_version=versions_to)


def beside_channel(conn: sa.Connection, delta_id: int, channel_id: int) -> CombinedResult:
    """Fetch the open requests of one channel, its 50 newest quarantines, and up to 200 of its followers."""
    return _OF_CHANNEL.run(conn, delta_id=delta_id, channel_id=channel_id)
