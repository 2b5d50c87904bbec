"""The first page: what waits for somebody, what is odd, what moved."""

from deltareg.pages.asking import Ask
from deltareg.pages.routing import View
from deltareg.service.overview.home import Home, Kept, show_home, show_kept
from deltareg.wire import Answer


class HelpPage(Answer):
    """The first three commands, with this server's address."""

    server: str


def _home(ask: Ask) -> Home:
    return show_home(ask.registry, ask.caller)


def _kept(ask: Ask) -> Kept:
    return show_kept(ask.registry, ask.caller)


def _help(ask: Ask) -> HelpPage:
    url = ask.request.url
    return HelpPage(server=f"{url.scheme}://{url.netloc}")


PAGES = (
    View("/", _home, "home.html.jinja"),
    View("/kept", _kept, "kept.html.jinja"),
    View("/help", _help, "help.html.jinja"),
)
