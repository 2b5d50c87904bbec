"""Two versions of a line side by side: configuration, modules, checks, size."""

import json
from collections.abc import Mapping, Sequence
from typing import cast

from deltareg.documents.json_values import is_object
from deltareg.errors import InvalidInput, NotFound
from deltareg.identity.manifest import Manifest
from deltareg.pages.asking import Ask
from deltareg.pages.layer_map import LayerMap, State, difference_map
from deltareg.pages.routing import View
from deltareg.refs import Ref
from deltareg.service.lines.versions import manifest_bytes
from deltareg.service.overview.line import show_line
from deltareg.service.verdicts.verdicts import list_verdicts
from deltareg.wire import Answer, CheckResult, VersionInfo

_CHOICES = 100
_VERDICTS = 10
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
    registry, caller, line = ask.registry, ask.caller, ask.line
    known = show_line(registry, caller, line, cursor=None, limit=_CHOICES)
    versions = known.versions.items
    if len(versions) < 2:
        raise NotFound(f"{line} has no two versions to compare", fix=f"deltareg log {line}")
    b = _chosen(versions, ask.text("b"), versions[0])
    before = [each for each in versions if each.version < b.version]
    a = _chosen(versions, ask.text("a"), before[0] if before else versions[1])
    ours, theirs = (_manifest(ask, each) for each in (a, b))
    made, counted = difference_map(ours, theirs)
    return DiffPage(
        line=str(line), versions=versions, a=a, b=b, same_base=ours.base == theirs.base,
        config=_config(ours.config, theirs.config), counted=counted, map=made,
        checks=_pairs(_checks(ask, a), _checks(ask, b)), is_all=ask.text("all") == "yes",
    )  # fmt: skip


def _chosen(
    versions: Sequence[VersionInfo], text: str | None, otherwise: VersionInfo
) -> VersionInfo:
    if text is None:
        return otherwise
    found = next((each for each in versions if f"v{each.version}" == text), None)
    if found is None:
        raise InvalidInput(
            f"there is no version {text[:40]!r} among the newest {_CHOICES}", fix="choose another"
        )
    return found


def _manifest(ask: Ask, version: VersionInfo) -> Manifest:
    ref = Ref(ask.line, version=version.version)
    return Manifest.decode(manifest_bytes(ask.registry, ask.caller, ref))


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


def _checks(ask: Ask, version: VersionInfo) -> dict[tuple[str, str], CheckResult]:
    """Give the checks of the newest verdict of each suite."""
    ref = Ref(ask.line, version=version.version)
    found = list_verdicts(
        ask.registry, ask.caller, ref, suite=None, cursor=None, limit=_VERDICTS
    ).items
    checks: dict[tuple[str, str], CheckResult] = {}
    suites: set[str] = set()
    for verdict in found:
        if verdict.suite in suites or verdict.variant:
            continue
        suites.add(verdict.suite)
        checks |= {(verdict.suite, check.name): check for check in verdict.checks}
    return checks


def _pairs(
    a: Mapping[tuple[str, str], CheckResult], b: Mapping[tuple[str, str], CheckResult]
) -> list[CheckPair]:
    return [
        CheckPair(suite=suite, check=check, a=a.get((suite, check)), b=b.get((suite, check)))
        for suite, check in dict.fromkeys([*b, *a])
    ]


PAGES = (View("/deltas/{ns}/{name}/diff", _diff, "diff.html.jinja", "Deltas"),)
