"""The form for a channel that people read, as Slack, Mattermost and those like them take it."""

import json

from deltareg.service.telling.event_form import EventForm
from deltareg.service.telling.event_words import put_in_words
from deltareg.wire import Event


def write_slack(event: Event) -> bytes:
    """Write an event as a message with a text: a line or two.

    What people wrote stands in it as text: `&`, `<` and `>` are escaped, so that nobody is called
    and no address is hidden behind words.
    """
    words = put_in_words(event)
    line = f"*{_plain(words.ref)}* {words.what}"
    line += f": *{_plain(words.verdict)}*" if words.verdict else ""
    line += f", by {_plain(words.actor)}" if words.actor else ""
    line += f"\n> {_plain(words.said)}" if words.said else ""
    return json.dumps({"text": line}, ensure_ascii=False).encode()


def _plain(text: str) -> str:
    for sign, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign, written)
    # These would make words bold, struck or code: a zero-width space keeps them as they are.
    return "".join(f"{sign}\u200b" if sign in "*~`" else sign for sign in text)


FORM = EventForm(
    "slack", "application/json; charset=utf-8", "For people, in Slack, Mattermost and the like.", write_slack
)
