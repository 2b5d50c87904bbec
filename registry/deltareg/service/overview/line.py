"""A delta line: its channels with what they serve, and its versions."""

from deltareg.db.channels import beside_channels
from deltareg.db.lines import versions as version_queries
from deltareg.db.overview import overview as queries
from deltareg.db.overview.rows import GlanceRow
from deltareg.db.session import read
from deltareg.db.verdicts.outcomes import newest_outcomes
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.channels.setbacks import setbacks
from deltareg.service.clock import rfc3339
from deltareg.service.describe import describe_plain
from deltareg.service.lines.veil import veil_base
from deltareg.service.overview.beside import OpenRequest, open_requests
from deltareg.service.overview.glance import ChannelGlance, glance
from deltareg.service.paging import check_limit, page, read_number_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_line
from deltareg.suites.suite import DEFAULT_SUITE, built_in
from deltareg.wire import Answer, Page, Setback, VersionInfo


class LineOverview(Answer):
    """A line with its channels in the order of their creation, and its versions, newest first.

    `names` has all channels, `channels` those that were ever moved, by name. `setbacks` has the
    versions that were rolled back and are quarantined, `requests` those that wait for approvals.
    """

    line: str
    created_at: str
    names: list[str]
    channels: dict[str, ChannelGlance]
    setbacks: list[Setback]
    requests: list[OpenRequest]
    versions: Page[VersionInfo]


def show_line(registry: Registry, caller: Caller, line: LineRef, *, cursor: str | None, limit: int) -> LineOverview:
    """Show a line with what its channels serve and a page of its versions."""
    caller.require(Right.READ, on=line)
    before = read_number_cursor(cursor)
    suite = built_in(DEFAULT_SUITE)
    with read(registry.engine) as conn:
        delta = find_line(conn, caller, line)
        glances = queries.channels_of_line(conn, delta.id, suite=DEFAULT_SUITE)
        rows = version_queries.version_rows(conn, delta.id, before=before, limit=check_limit(limit) + 1)
        shown = [row.number for row in rows[:limit]] or [0]
        beside = beside_channels.beside_line(conn, delta.id, versions_from=min(shown), versions_to=max(shown))
        outcomes = newest_outcomes(conn, [row.id for row in rows], suite=suite.name, suite_digest=str(suite.digest))
    channels_of = _group_served(glances)
    return LineOverview(
        line=str(line),
        created_at=rfc3339(delta.created_at),
        names=[row.name for row in beside.all(beside_channels.NAMES)],
        setbacks=setbacks(beside.all(beside_channels.SETBACKS)),
        requests=open_requests(beside.all(beside_channels.OPEN)),
        channels={row.channel: glance(caller, row) for row in glances},
        versions=page(
            rows,
            limit,
            key=lambda row: row.number,
            show=lambda row: veil_base(
                caller, describe_plain(row, outcomes.get(row.id), channels=channels_of.get(row.number, []))
            ),
        ),
    )


def _group_served(moved: list[GlanceRow]) -> dict[int, list[str]]:
    channels: dict[int, list[str]] = {}
    for row in moved:
        if row.version is not None:
            channels.setdefault(row.version, []).append(row.channel)
    return channels
