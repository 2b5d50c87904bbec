"""The fleet: what every agent serves, and what its channels say."""

from collections.abc import Iterator, Sequence

from deltareg.pages.asking import ViewRequest
from deltareg.pages.routing import View
from deltareg.pages.tables import Cell, PageTable
from deltareg.service.channels.fleet import list_followers
from deltareg.wire import Answer, FollowerInfo, Page

_LISTED = 100


class FleetPage(Answer):
    """Agents with the channels that they follow: all, or those of a line or a channel."""

    asked: str
    followers: Page[FollowerInfo]


def _fleet(ask: ViewRequest) -> FleetPage:
    of = ask.text("of")
    followers = list_followers(ask.registry, ask.caller, of, cursor=ask.cursor, limit=ask.most(_LISTED))
    return FleetPage(asked=of or "", followers=followers)


def _cells(page: FleetPage) -> Iterator[Sequence[Cell]]:
    for row in page.followers.items:
        yield (
            row.agent,
            row.owner,
            row.engine,
            row.channel,
            row.desired_revision,
            row.desired_version,
            row.revision,
            row.version,
            row.digest,
            row.state,
            row.drift,
            row.base,
            row.error,
            row.trouble,
            row.since,
            row.seen_at,
        )


_TABLE = PageTable(
    (
        "agent",
        "owner",
        "engine",
        "channel",
        "desired_revision",
        "desired_version",
        "revision",
        "version",
        "digest",
        "state",
        "drift",
        "base",
        "error",
        "trouble",
        "since",
        "seen_at",
    ),
    _cells,
    lambda page: page.followers.next_cursor,
)
PAGES = (View("/fleet", _fleet, "fleet.html.jinja", "Fleet", table=_TABLE),)
