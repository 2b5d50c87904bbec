"""A delta line: the strip of its channels, and its versions."""

from deltareg.pages.asking import Ask
from deltareg.pages.routing import View
from deltareg.service.overview.line import Line, show_line

_LISTED = 50


def _delta(ask: Ask) -> Line:
    return show_line(ask.registry, ask.caller, ask.line, cursor=ask.text("cursor"), limit=_LISTED)


PAGES = (View("/deltas/{ns}/{name}", _delta, "delta.html.jinja", "Deltas"),)
