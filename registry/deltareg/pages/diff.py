"""Two or three versions of a line side by side: facts, settings, modules, checks."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from deltareg.documents.json_values import is_object
from deltareg.drawing.wording import size
from deltareg.errors import InvalidInput
from deltareg.identity.manifest import Manifest
from deltareg.pages.asking import ViewRequest
from deltareg.pages.layer_map import Change, LayerMap, difference_map, map_cells, map_plot, odd_map
from deltareg.pages.routing import View
from deltareg.pages.tables import Cell, PageTable
from deltareg.service.overview.comparison import Checks, compare_versions
from deltareg.wire import Answer, CheckResult, VersionInfo

_PUSHED = "pushed at"
_ABSENT = "-"
_TWO = 2
_SIDES = ("a", "b", "c")


class ConfigChange(Answer):
    """A setting or a fact by version; `c` if three versions are compared."""

    name: str
    a: str
    b: str
    c: str | None = None

    @property
    def values(self) -> list[str]:
        """Return the values in the order of the versions."""
        return [self.a, self.b] if self.c is None else [self.a, self.b, self.c]

    @property
    def is_time(self) -> bool:
        """Whether the values are times."""
        return self.name == _PUSHED and all("T" in value for value in self.values)

    @property
    def is_different(self) -> bool:
        """Whether the versions differ in it."""
        return len(set(self.values)) > 1


class CheckPair(Answer):
    """The results of a check of a suite for two or three versions."""

    suite: str
    check: str
    a: CheckResult | None
    b: CheckResult | None
    c: CheckResult | None = None
    is_three: bool = False

    @property
    def results(self) -> list[CheckResult | None]:
        """Return the values in the order of the versions."""
        return [self.a, self.b, self.c] if self.is_three else [self.a, self.b]

    @property
    def is_skipped(self) -> bool:
        """Whether it was skipped for one of the versions."""
        return any(one is not None and one.verdict == "skipped" for one in self.results)

    @property
    def is_different(self) -> bool:
        """Whether the outcomes or the values differ; False if it was skipped for one."""
        if self.is_skipped:
            return False
        if any(one is None for one in self.results):
            return True
        return len({(one.verdict, str(one.value)) for one in self.results if one}) > 1


class DiffPage(Answer):
    """How two or three versions differ; `same_base` says whether all are for one base.

    `counted` counts modules: for two versions by how each changed, for three by which one differs
    from the other two. `ancestor` is the newest version that all derive from.
    """

    line: str
    versions: list[VersionInfo]
    a: VersionInfo
    b: VersionInfo
    c: VersionInfo | None
    ancestor: str
    same_base: bool
    facts: list[ConfigChange]
    config: list[ConfigChange]
    counted: dict[Change, int]
    map: LayerMap
    checks: list[CheckPair]
    is_all: bool

    @property
    def sides(self) -> list[VersionInfo]:
        """Return the versions in the order of the request."""
        return [self.a, self.b] if self.c is None else [self.a, self.b, self.c]

    def heads(self, first: str, style: str, *, is_wide: bool = False) -> list[tuple[str, str]]:
        """Return the heads of a table with a column for each version, or two if it is wide."""
        columns = [(first, "")]
        for side in self.sides:
            columns += [(f"v{side.version}", style), *([("", "")] if is_wide else [])]
        return columns


def _diff(ask: ViewRequest) -> DiffPage:
    numbers = {side: number_of(ask.text(side)) for side in _SIDES}
    comparison = compare_versions(ask.registry, ask.caller, ask.line, **numbers)
    sides = [side.version for side in comparison.sides]
    manifests = [side.manifest for side in comparison.sides]
    drawn_map, counts = _map(manifests, [f"v{side.version}" for side in sides])
    is_all = ask.text("all") == "yes"
    facts = _changes([dict(_facts(side)) for side in sides], is_all=is_all)
    return DiffPage(
        line=str(ask.line),
        versions=list(comparison.choices),
        a=sides[0],
        b=sides[1],
        c=sides[2] if len(sides) > _TWO else None,
        ancestor="" if comparison.ancestor is None else str(comparison.ancestor),
        same_base=len({manifest.base for manifest in manifests}) == 1,
        facts=facts,
        config=_changes([dict(_flat(manifest.config)) for manifest in manifests], is_all=is_all),
        counted=counts,
        map=drawn_map,
        checks=_pairs([side.checks for side in comparison.sides]),
        is_all=is_all,
    )


def _map(manifests: Sequence[Manifest], names: Sequence[str]) -> tuple[LayerMap, dict[Change, int]]:
    return difference_map(*manifests) if len(manifests) == _TWO else odd_map(manifests, names)


def number_of(text: str | None) -> int | None:
    """Parse the number of a version, `v3` or `3`; None if the text is missing.

    Raises:
        InvalidInput: It is no number.
    """
    if text is None:
        return None
    number = text.removeprefix("v")
    if not (number.isascii() and number.isdecimal() and len(number) <= 9):
        raise InvalidInput(f"not a version: {text[:40]!r}", fix="write v3")
    return int(number)


def _facts(version: VersionInfo) -> list[tuple[str, str]]:
    """Return the facts about a version that are no settings."""
    variant = f", {version.variant}" if version.variant else ""
    labels = ", ".join(f"{name}={value}" for name, value in version.labels.items())
    return [
        ("kind", version.kind + variant),
        ("base", version.base.name or version.base.root),
        ("folds", "yes" if version.foldable else "no"),
        ("as files", size(version.logical_bytes)),
        ("stored", size(version.stored_bytes)),
        (_PUSHED, version.created_at),
        ("by", version.created_by),
        ("served by", ", ".join(f"@{c}" for c in version.channels)),
        ("labels", labels),
        ("message", version.message),
        ("revoked", "yes" if version.is_revoked else "no"),
    ]


def _changes(sides: Sequence[Mapping[str, str]], *, is_all: bool) -> list[ConfigChange]:
    """Align values by name: all of them, or only those that differ."""
    names = dict.fromkeys(name for side in sides for name in side)
    rows = [[side.get(name, _ABSENT) or _ABSENT for side in sides] for name in names]
    changes = [
        ConfigChange(name=name, a=row[0], b=row[1], c=row[2] if len(row) > _TWO else None)
        for name, row in zip(names, rows, strict=True)
    ]
    return [change for change in changes if is_all or change.is_different]


def _flat(value: Mapping[str, object], within: str = "") -> list[tuple[str, str]]:
    entries: list[tuple[str, str]] = []
    for name, item in value.items():
        path = f"{within}{name}"
        if is_object(item) and item:
            entries += _flat(cast("Mapping[str, object]", item), f"{path}.")
        else:
            entries.append((path, json.dumps(item, ensure_ascii=False)))
    return entries


def _pairs(sides: Sequence[Checks]) -> list[CheckPair]:
    keys = dict.fromkeys(key for side in reversed(sides) for key in side)
    return [
        CheckPair(
            suite=suite,
            check=check,
            a=sides[0].get((suite, check)),
            b=sides[1].get((suite, check)),
            c=sides[2].get((suite, check)) if len(sides) > _TWO else None,
            is_three=len(sides) > _TWO,
        )
        for suite, check in keys
    ]


def _cells(page: DiffPage) -> Iterator[Sequence[Cell]]:
    return map_cells(page.map)


def _plot(page: DiffPage) -> str:
    names = " and ".join(f"v{side.version}" for side in page.sides)
    return map_plot(page.map, f"What differs between {names} of {page.line}, by layer")


_TABLE = PageTable(("module", "layer", "seen"), _cells)
PAGES = (View("/deltas/{ns}/{name}/diff", _diff, "diff.html.jinja", "Deltas", table=_TABLE, plot=_plot),)
