"""The first page: what waits for somebody, what looks wrong, what has moved."""

from deltareg.pages.asking import ViewRequest
from deltareg.pages.routing import View
from deltareg.service.overview.home import HomeOverview, StoredTotals, show_home, show_kept
from deltareg.wire import Answer


class HelpPage(Answer):
    """The first three commands, with this server's address."""

    server: str


def _home(ask: ViewRequest) -> HomeOverview:
    return show_home(ask.registry, ask.caller)


def _show_kept(ask: ViewRequest) -> StoredTotals:
    return show_kept(ask.registry, ask.caller)


def _help(ask: ViewRequest) -> HelpPage:
    url = ask.request.url
    return HelpPage(server=f"{url.scheme}://{url.netloc}")


PAGES = (
    View("/", _home, "home.html.jinja"),
    View("/kept", _show_kept, "kept.html.jinja"),
    View("/help", _help, "help.html.jinja"),
)
