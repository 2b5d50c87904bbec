"""The fleet: what every agent serves, beside what its channels say."""

from deltareg.pages.asking import Ask
from deltareg.pages.routing import View
from deltareg.service.channels.fleet import list_followers
from deltareg.wire import Answer, FollowerInfo, Page

_LISTED = 100


class FleetPage(Answer):
    """Agents with the channels that they follow, of a line or channel, or all."""

    asked: str
    followers: Page[FollowerInfo]


def _fleet(ask: Ask) -> FleetPage:
    of = ask.text("of")
    found = list_followers(ask.registry, ask.caller, of, cursor=ask.text("cursor"), limit=_LISTED)
    return FleetPage(asked=of or "", followers=found)


PAGES = (View("/fleet", _fleet, "fleet.html.jinja", "Fleet"),)
