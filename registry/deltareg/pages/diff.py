"""Two versions of a line side by side: configuration, modules, checks, size."""

import json
from collections.abc import Mapping
from typing import cast

from deltareg.documents.json_values import is_object
from deltareg.errors import InvalidInput
from deltareg.pages.asking import Ask
from deltareg.pages.layer_map import LayerMap, State, difference_map
from deltareg.pages.routing import View
from deltareg.service.overview.comparison import Checks, compare_versions
from deltareg.wire import Answer, CheckResult, VersionInfo

_ABSENT = "-"


class ConfigChange(Answer):
    """A setting that two versions have differently."""

    name: str
    a: str
    b: str


class CheckPair(Answer):
    """A check of a suite as it came out for both versions."""

    suite: str
    check: str
    a: CheckResult | None
    b: CheckResult | None

    @property
    def is_different(self) -> bool:
        """Whether the outcomes or the values differ."""
        if self.a is None or self.b is None:
            return True
        return (self.a.verdict, self.a.value) != (self.b.verdict, self.b.value)


class DiffPage(Answer):
    """How a version differs from another one; `same_base` says whether both are for one base."""

    line: str
    versions: list[VersionInfo]
    a: VersionInfo
    b: VersionInfo
    same_base: bool
    config: list[ConfigChange]
    counted: dict[State, int]
    map: LayerMap
    checks: list[CheckPair]
    is_all: bool


def _diff(ask: Ask) -> DiffPage:
    found = compare_versions(
        ask.registry, ask.caller, ask.line, a=number_of(ask.text("a")), b=number_of(ask.text("b"))
    )
    a, b = found.a, found.b
    made, counted = difference_map(a.manifest, b.manifest)
    return DiffPage(
        line=str(ask.line), versions=list(found.choices), a=a.version, b=b.version,
        same_base=a.manifest.base == b.manifest.base,
        config=_config(a.manifest.config, b.manifest.config), counted=counted, map=made,
        checks=_pairs(a.checks, b.checks), is_all=ask.text("all") == "yes",
    )  # fmt: skip


def number_of(text: str | None) -> int | None:
    """Read the number of a version, `v3` or `3`; None of none.

    Raises:
        InvalidInput: It is no number.
    """
    if text is None:
        return None
    number = text.removeprefix("v")
    if not (number.isascii() and number.isdecimal() and len(number) <= 9):
        raise InvalidInput(f"not a version: {text[:40]!r}", fix="write v3")
    return int(number)


def _config(a: Mapping[str, object], b: Mapping[str, object]) -> list[ConfigChange]:
    ours, theirs = dict(_flat(a)), dict(_flat(b))
    return [
        ConfigChange(name=name, a=ours.get(name, _ABSENT), b=theirs.get(name, _ABSENT))
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    ]


def _flat(value: Mapping[str, object], within: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, item in value.items():
        path = f"{within}{name}"
        if is_object(item) and item:
            found += _flat(cast("Mapping[str, object]", item), f"{path}.")
        else:
            found.append((path, json.dumps(item, ensure_ascii=False)))
    return found


def _pairs(a: Checks, b: Checks) -> list[CheckPair]:
    return [
        CheckPair(suite=suite, check=check, a=a.get((suite, check)), b=b.get((suite, check)))
        for suite, check in dict.fromkeys([*b, *a])
    ]


PAGES = (View("/deltas/{ns}/{name}/diff", _diff, "diff.html.jinja", "Deltas"),)
