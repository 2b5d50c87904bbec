"""What waits for somebody, and what is unusual: the first thing that they see."""

from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from deltareg.db.channels import fleet as fleet_queries
from deltareg.db.channels import requests as request_queries
from deltareg.db.channels.fleet_rows import FollowerRow
from deltareg.db.channels.request_rows import RequestRow
from deltareg.db.overview import overview as queries
from deltareg.db.session import read
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import SHARED, Channel
from deltareg.service.channels.approvals import approvals_due
from deltareg.service.channels.fleet import drift_of
from deltareg.service.clock import rfc3339
from deltareg.service.describe import line_of
from deltareg.service.overview.glance import ChannelGlance, glance
from deltareg.service.registry import Caller, Registry
from deltareg.suites.suite import DEFAULT_SUITE
from deltareg.wire import Answer, Drift

_LISTED = 60
_FOLLOWERS = 200


class WaitingRequest(Answer):
    """An open request; `is_yours` says that the caller may approve on its channel."""

    id: int
    line: str
    channel: str
    version: int
    previous: int | None
    opener: str
    reason: str
    due: int
    opened_at: str
    is_yours: bool


class DriftingAgent(Answer):
    """An agent that does not serve what its channel says, or serves what was revoked."""

    agent: str
    channel: str
    drift: Drift
    wanted: int | None
    serves: int | None
    error: str
    is_revoked: bool
    since: str
    seen_at: str


class HomeOverview(Answer):
    """What waits, what is unusual, what moved last, and how much work there is.

    `seen` counts the channels that were examined; `is_all` says that no other channel was ever
    moved.
    """

    waiting: list[WaitingRequest]
    odd: list[ChannelGlance]
    drift: list[DriftingAgent]
    moved: list[ChannelGlance]
    seen: int
    is_all: bool
    followers: int
    lines: int
    queued: int
    running: int


class StoredTotals(Answer):
    """How much is stored of what somebody may read: versions, logical bytes and stored bytes."""

    versions: int
    logical_bytes: int
    stored_bytes: int


def show_kept(registry: Registry, caller: Caller) -> StoredTotals:
    """Add up how much is stored of what the caller may read."""
    caller.require(Right.READ, on=SHARED)
    with read(registry.engine) as conn:
        weights = queries.weights(conn, caller.sight)
    return StoredTotals(
        versions=weights.versions, logical_bytes=weights.logical_bytes, stored_bytes=weights.stored_bytes
    )


def show_home(registry: Registry, caller: Caller) -> HomeOverview:
    """Return what waits for the caller, and what is unusual among what they may read."""
    caller.require(Right.READ, on=SHARED)
    with read(registry.engine) as conn:
        waiting = _open_requests(conn, caller)
        counts = queries.counts(conn, caller.sight)
        rows = queries.channels_at_a_glance(conn, suite=DEFAULT_SUITE, sight=caller.sight, limit=_LISTED)
        glances = [glance(caller, row) for row in rows]
        followers = fleet_queries.follower_rows(
            conn, delta_id=None, channel_id=None, sight=caller.sight, after=None, limit=_FOLLOWERS
        )
    return HomeOverview(
        waiting=waiting,
        odd=[each for each in glances if each.is_odd],
        drift=list(_out_of_step(followers)),
        moved=glances[:12],
        seen=len(glances),
        is_all=len(glances) < _LISTED,
        followers=len(followers),
        lines=counts.lines,
        queued=counts.queued,
        running=counts.running,
    )


def _open_requests(conn: sa.Connection, caller: Caller) -> list[WaitingRequest]:
    rows = request_queries.request_rows(
        conn, state="open", delta_id=None, channel=None, sight=caller.sight, before=None, limit=_LISTED
    )
    return sorted((_waiting(caller, row) for row in rows), key=lambda each: not each.is_yours)


def _waiting(caller: Caller, row: RequestRow) -> WaitingRequest:
    is_other = caller.principal_id not in {row.opener_id, row.uploader_id}
    may = caller.may(Right.APPROVE, on=Channel(line_of(row), row.channel))
    return WaitingRequest(
        id=row.id,
        line=f"{row.namespace}/{row.line}",
        channel=row.channel,
        version=row.number,
        previous=row.previous,
        opener=row.opener,
        reason=row.reason,
        due=approvals_due(row),
        opened_at=rfc3339(row.created_at),
        is_yours=is_other and may,
    )


def _out_of_step(rows: Sequence[FollowerRow]) -> Iterator[DriftingAgent]:
    for row in rows:
        drift = drift_of(row)
        if drift == "none":
            continue
        yield DriftingAgent(
            agent=row.agent,
            channel=f"{row.namespace}/{row.line}@{row.channel}",
            drift=drift,
            wanted=row.desired_version,
            serves=row.version,
            error=row.error,
            is_revoked=row.is_revoked,
            since=rfc3339(row.since),
            seen_at=rfc3339(row.seen_at),
        )
