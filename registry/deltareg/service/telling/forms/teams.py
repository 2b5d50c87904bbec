"""The form for a channel of Microsoft Teams: an Adaptive Card, as its workflows take it.

https://adaptivecards.io/explorer/RichTextBlock.html: a run of text knows no marks, so that what
people wrote needs no escaping.
"""

import json

from deltareg.service.telling.event_form import EventForm
from deltareg.service.telling.event_words import put_in_words
from deltareg.wire import Event

_CARD = "application/vnd.microsoft.card.adaptive"


def write_teams(event: Event) -> bytes:
    """Write an event as a message with a card of a line or two."""
    words = put_in_words(event)
    line = [_run(words.ref, weight="Bolder"), _run(f" {words.what}")]
    line += [_run(": "), _run(words.verdict, weight="Bolder")] if words.verdict else []
    line += [_run(f", by {words.actor}")] if words.actor else []
    body = [_block(line), *([_block([_run(words.said, isSubtle=True)])] if words.said else [])]
    card = {"type": "AdaptiveCard", "version": "1.2", "body": body}
    message = {"type": "message", "attachments": [{"contentType": _CARD, "content": card}]}
    return json.dumps(message, ensure_ascii=False).encode()


def _run(text: str, **more: object) -> dict[str, object]:
    return {"type": "TextRun", "text": text, **more}


def _block(runs: list[dict[str, object]]) -> dict[str, object]:
    return {"type": "RichTextBlock", "inlines": runs}


FORM = EventForm(
    "teams", "application/json; charset=utf-8", "For people, in Microsoft Teams: an Adaptive Card.", write_teams
)
