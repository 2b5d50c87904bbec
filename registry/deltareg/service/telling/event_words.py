"""An event in words, for forms that people read."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from deltareg.service.telling.types import PREFIX
from deltareg.wire import Event

_MOST_TEXT = 600
_SAID = ("reason", "message", "because", "error", "damaged", "told")
_NOUNS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("verdict.given", "verdict.missing", "verdict.waived"), "verdict "),
        **dict.fromkeys(("drift.found", "drift.over"), "drift "),
        **dict.fromkeys(("request.opened", "request.approved", "request.promoted"), "request "),
        "channel.policy_changed": "",
    }
)


@dataclass(frozen=True, slots=True)
class EventWords:
    """What happened, in pieces; what is not there is empty.

    Attributes:
        ref: To what.
        what: What happened, and to which version: `rolled back: v12`.
        verdict: What a verification came to.
        actor: Who did it.
        said: What people wrote of it, or what went wrong: in one line, cut where it is long.
    """

    ref: str
    what: str
    verdict: str
    actor: str
    said: str


def put_in_words(event: Event) -> EventWords:
    """Say what happened."""
    kind, data = event.type.removeprefix(PREFIX), event.data
    what = _NOUNS.get(kind, "") + kind.partition(".")[2].replace("_", " ")
    version, verdict = data.get("version"), data.get("verdict")
    return EventWords(
        ref=_on_one_line(data.get("ref", event.subject)),
        what=what + (f": v{version}" if isinstance(version, int) else ""),
        verdict="" if verdict is None else _on_one_line(verdict),
        actor=_on_one_line(data.get("actor", "")),
        said=next((_on_one_line(data[name]) for name in _SAID if data.get(name)), ""),
    )


def _on_one_line(value: object) -> str:
    return " ".join(str(value).split())[:_MOST_TEXT]
