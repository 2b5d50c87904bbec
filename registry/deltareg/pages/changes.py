"""What a row of the audit trail changed, in words, and the page of what it changed."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from deltareg.documents.json_values import is_list, is_object
from deltareg.drawing.wording import short
from deltareg.pages.guard import ROOT

_KEY: Final = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
_VERSION: Final = re.compile(r"([^/:@]+/[^/:@]+):(v[0-9]+)")
_CHANNEL: Final = re.compile(r"([^/:@]+/[^/:@]+)@([^/:@]+)")
_REQUEST: Final = re.compile(r"[^/:@]+/[^/:@]+@[^/:@]+/request/([0-9]+)")
_KINDS: Final[Mapping[str, str]] = {
    "base": "/bases/{}",
    "namespace": "/access?namespace={}",
    "run": "/runs/{}",
    "suite": "/suites/{}",
    "token": "/tokens#t{}",
    "verdict": "/verdicts/{}/waive",
}
_DEEPEST = 4


@dataclass(frozen=True, slots=True)
class AuditChange:
    """A thing that was changed: its name, what it was where it was there, and what it is."""

    name: str
    was: str
    now: str


def changes(before: object, after: object) -> list[AuditChange]:
    """Say what is otherwise after than before, in words; what is empty in both is left out."""
    was, now = dict(_facts(before)), dict(_facts(after))
    names = dict.fromkeys([*now, *was])
    return [
        AuditChange(name, was.get(name, ""), now.get(name, ""))
        for name in names
        if was.get(name, "") != now.get(name, "")
    ]


def address_of(subject: str) -> str:
    """Give the page of what a row names; empty where there is none."""
    if match := _REQUEST.fullmatch(subject):
        return f"{ROOT}/requests/{match[1]}"
    if match := _VERSION.fullmatch(subject):
        return f"{ROOT}/deltas/{quote(match[1])}/{match[2]}"
    if match := _CHANNEL.fullmatch(subject):
        return f"{ROOT}/deltas/{quote(match[1])}/channels/{quote(match[2])}"
    kind, _, name = subject.partition("/")
    if kind in _KINDS and name:
        return ROOT + _KINDS[kind].format(quote(name))
    return ""


def _facts(value: object, name: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    if is_object(value) and depth < _DEEPEST:
        for key, inner in value.items():
            yield from _facts(inner, f"{name} {key}".strip().replace("_", " "), depth + 1)
        return
    text = in_words(value)
    if text:
        yield name or "it", text


def in_words(value: object) -> str:
    """Write a value of JSON as words; empty where it says nothing."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if is_list(value):
        return ", ".join(filter(None, (in_words(each) for each in value)))
    if is_object(value):
        return ", ".join(f"{key} {in_words(inner)}" for key, inner in value.items())
    return _KEY.sub(r"\1…", short(str(value)))
