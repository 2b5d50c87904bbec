"""The facts that somebody needs to decide on a request, in one statement."""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from deltareg.db.channels.beside_channels import select_names, select_setbacks
from deltareg.db.channels.fleet import select_followers
from deltareg.db.channels.fleet_rows import FollowerRow
from deltareg.db.channels.requests import APPROVALS, ONE, WARNINGS
from deltareg.db.channels.rows import ChannelNameRow, SetbackRow
from deltareg.db.sql.together import CombinedQuery, CombinedResult, QueryPart
from deltareg.db.tables import channels, followers, requests, revisions, versions

_MOST_FOLLOWERS: Final = 200
_ASKED: Final = sa.select(requests.c.channel_id).where(requests.c.id == ONE)
_OWN: Final = versions.alias("own")
_DIGEST: Final = (
    sa.select(_OWN.c.manifest_digest)
    .join(requests, requests.c.version_id == _OWN.c.id)
    .where(requests.c.id == ONE)
    .scalar_subquery()
)
SETBACKS: Final = QueryPart(
    select_setbacks().where(versions.c.manifest_digest == _DIGEST), SetbackRow, order=(revisions.c.id,)
)
"""From which channels the version, or one of the same bytes in any line, was rolled back and is
kept away."""
_LINE: Final = (
    sa.select(channels.c.delta_id).join(requests, requests.c.channel_id == channels.c.id).where(requests.c.id == ONE)
)
NAMES: Final = QueryPart(
    select_names().where(channels.c.delta_id.in_(_LINE.correlate(None))), ChannelNameRow, order=(channels.c.id,)
)
"""What each channel of the line serves."""
FOLLOWERS: Final = QueryPart(
    select_followers().where(channels.c.id.in_(_ASKED)), FollowerRow, order=(followers.c.id,), limit=_MOST_FOLLOWERS
)
_AROUND: Final = CombinedQuery(APPROVALS, WARNINGS, SETBACKS, NAMES, FOLLOWERS)


def setbacks_of(conn: sa.Connection, request_id: int) -> Sequence[SetbackRow]:
    """List the setbacks of a request's version: channels that rolled it back and quarantine it."""
    return CombinedQuery(SETBACKS).run(conn, request_id=request_id).all(SETBACKS)


def around_request(conn: sa.Connection, request_id: int) -> CombinedResult:
    """Fetch a request's approvals, warnings, setbacks and followers, and its line's channels."""
    return _AROUND.run(conn, request_id=request_id)
