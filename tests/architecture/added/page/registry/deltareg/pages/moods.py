"""How the registry is."""

from deltareg.pages.asking import ViewRequest
from deltareg.pages.routing import View
from deltareg.wire import Answer


class MoodPage(Answer):
    """The mood of a registry."""

    mood: str


def _moods(ask: ViewRequest) -> MoodPage:
    return MoodPage(mood=f"cheerful, {ask.caller.principal}")


PAGES = (View("/moods", _moods, "moods.html.jinja"),)
