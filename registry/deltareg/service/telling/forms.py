"""What is sent of an event: itself, or a text as Slack and those like it take it."""

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType

from deltareg.service.telling.types import PREFIX
from deltareg.wire import Event

_MOST_TEXT = 600
_SAID = ("reason", "message", "because", "error", "damaged", "told")


def cloud_event(event: Event) -> bytes:
    """Write an event in the structured mode of the HTTP binding of CloudEvents, section 3.2."""
    return event.model_dump_json().encode()


def slack(event: Event) -> bytes:
    """Write an event as a message with a text, for a channel that people read.

    What people wrote stands in it as text: `&`, `<` and `>` are escaped, so that nobody is called
    and no address is hidden behind words.
    """
    return json.dumps({"text": text_of(event)}, ensure_ascii=False).encode()


def text_of(event: Event) -> str:
    """Say in a line or two what happened."""
    kind, data = event.type.removeprefix(PREFIX), event.data
    what = kind.partition(".")[2].replace("_", " ")
    line = f"*{_plain(data.get('ref', event.subject))}* {_NOUNS.get(kind, '')}{what}"
    version, verdict = data.get("version"), data.get("verdict")
    if isinstance(version, int):
        line += f": v{version}"
    if verdict is not None:
        line += f": *{_plain(verdict)}*"
    line += f", by {_plain(data['actor'])}" if "actor" in data else ""
    said = next((_plain(data[name]) for name in _SAID if data.get(name)), "")
    return line + (f"\n> {said}" if said else "")


def _plain(value: object) -> str:
    text = " ".join(str(value).split())[:_MOST_TEXT]
    for sign, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign, written)
    # These would make words bold, struck or code: a zero-width space keeps them as they are.
    return "".join(f"{sign}\u200b" if sign in "*~`" else sign for sign in text)


_NOUNS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("verdict.given", "verdict.missing", "verdict.waived"), "verdict "),
        **dict.fromkeys(("drift.found", "drift.over"), "drift "),
        **dict.fromkeys(("request.opened", "request.approved", "request.promoted"), "request "),
        "channel.policy_changed": "",
    }
)
FORMS: Mapping[str, tuple[Callable[[Event], bytes], str]] = MappingProxyType(
    {
        "cloudevents": (cloud_event, "application/cloudevents+json; charset=utf-8"),
        "slack": (slack, "application/json; charset=utf-8"),
    }
)
"""By form: what writes the body, and its media type."""
