"""A channel: what it serves, its ledger, and what it served at a time."""

from deltareg.db.channels import beside_channels
from deltareg.db.channels import channels as queries
from deltareg.db.overview import overview
from deltareg.db.session import read
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.channels.channels import describe_revision
from deltareg.service.channels.fleet import show_follower
from deltareg.service.clock import parse_time, rfc3339_seconds
from deltareg.service.overview.beside import OpenRequest, open_requests
from deltareg.service.overview.glance import ChannelGlance, glance
from deltareg.service.paging import check_limit, page, read_number_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_channel
from deltareg.suites.suite import DEFAULT_SUITE
from deltareg.wire import Answer, FollowerInfo, Page, RevisionInfo


class Ledger(Answer):
    """A channel with a page of its ledger, newest first.

    `now` is None if the channel was never moved. If a time was given, `then` is the newest revision
    at that time, None if there was none, and `at` is that time, to the second, in UTC. `agents` are
    its first 200 followers, and `quarantined` the newest 50 versions that are kept away from it.
    """

    line: str
    channel: str
    revision: int
    now: ChannelGlance | None
    quarantined: list[int]
    requests: list[OpenRequest]
    agents: list[FollowerInfo]
    revisions: Page[RevisionInfo]
    at: str
    then: RevisionInfo | None


def show_ledger(
    registry: Registry, caller: Caller, line: LineRef, name: str, *, at: str | None, cursor: str | None, limit: int
) -> Ledger:
    """Show a channel with its ledger, and what it served at a time."""
    caller.require(Right.READ, on=line)
    before = read_number_cursor(cursor)
    at_us = None if at is None else parse_time(at)
    with read(registry.engine) as conn:
        row = find_channel(conn, caller, line, name)
        glances = overview.channels_of_line(conn, row.delta_id, suite=DEFAULT_SUITE, channel=name)
        rows = queries.revision_rows(conn, row.id, before=before, limit=check_limit(limit) + 1)
        now = glance(caller, glances[0]) if glances else None
        beside = beside_channels.beside_channel(conn, row.delta_id, row.id)
        then = None if at_us is None else queries.revision_at(conn, row.id, at_us=at_us)
    return Ledger(
        line=str(line),
        channel=name,
        revision=row.revision,
        now=now,
        quarantined=[each.version for each in beside.all(beside_channels.NEWEST_SETBACKS)],
        requests=open_requests(beside.all(beside_channels.OPEN)),
        agents=[show_follower(each) for each in beside.all(beside_channels.FOLLOWERS)],
        revisions=page(
            rows, limit, key=lambda each: each.number, show=lambda each: describe_revision(line, name, each)
        ),
        at="" if at_us is None else rfc3339_seconds(at_us),
        then=None if then is None else describe_revision(line, name, then),
    )
