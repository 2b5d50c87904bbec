"""Describes what a row of the audit trail changed, and finds the page of its subject."""

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
    """A change: its name, the value before, if there was one, and the value after."""

    name: str
    was: str
    now: str


def changes(before: object, after: object) -> list[AuditChange]:
    """Return what differs between before and after, in words, without what is empty in both."""
    was, now = dict(_facts(before)), dict(_facts(after))
    names = dict.fromkeys([*now, *was])
    return [
        AuditChange(name, was.get(name, ""), now.get(name, ""))
        for name in names
        if was.get(name, "") != now.get(name, "")
    ]


def address_of(subject: str) -> str:
    """Return the address of the page of a row's subject; empty if it has none."""
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
    """Describe a JSON value in words; an empty text for null or empty values."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if is_list(value):
        return ", ".join(filter(None, (in_words(each) for each in value)))
    if is_object(value):
        return ", ".join(f"{key} {in_words(inner)}" for key, inner in value.items())
    return _KEY.sub(r"\1…", short(str(value)))
