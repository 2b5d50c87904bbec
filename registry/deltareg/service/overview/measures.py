"""The measures of the versions of a line, one after another: from checks, and from training."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from deltareg.db.lines import versions as queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.session import read
from deltareg.db.verdicts.findings import newest_findings
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.paging import check_limit
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_line
from deltareg.suites.suite import DEFAULT_SUITE
from deltareg.wire import Answer

Side = Literal["below", "above", ""]
Kept = tuple[float | None, Side]
SIZES = ("size", "stored size")
"""The measures that are numbers of bytes."""
_LABEL = "metric."
_GENERAL = f"{DEFAULT_SUITE}/general_perplexity"
_FIRST = ("loss", "perplexity")
_MOST = 48


class MeasurePoint(Answer):
    """The value of one version."""

    version: int
    value: float


class MeasureSeries(Answer):
    """A measure over versions, oldest first.

    `name` is `suite/check` for a check, `metric.name` for a label, `size` or `stored size`, in bytes. `mark` is
    the threshold of the newest value, if there is one, and `good` the side of it that passes. `is_compared` is
    False for what people look at only when it fails: the checks of the default suite.
    """

    name: str
    mark: float | None
    good: Side = ""
    points: list[MeasurePoint]
    is_compared: bool = True


class LineMeasures(Answer):
    """The measures of a line's newest versions: what people compare first, the default suite's checks last."""

    line: str
    measures: list[MeasureSeries]


def show_measures(registry: Registry, caller: Caller, line: LineRef, *, limit: int) -> LineMeasures:
    """Return the measures of the newest versions of a line.

    Raises:
        NotFound: There is no such line.
    """
    caller.require(Right.READ, on=line)
    with read(registry.engine) as conn:
        delta = find_line(conn, caller, line)
        rows = queries.version_rows(conn, delta.id, before=None, limit=check_limit(limit))
        findings = newest_findings(conn, [row.id for row in rows])
    points: dict[str, list[MeasurePoint]] = {}
    marks: dict[str, Kept] = {}
    for row in reversed(rows):
        checks = [(suite, f.checks) for (row_id, suite), f in findings.items() if row_id == row.id]
        for name, value, mark in [*_labels(row), *_checks(checks), *_sizes(row)]:
            points.setdefault(name, []).append(MeasurePoint(version=row.number, value=value))
            marks[name] = mark
    names = sorted(points, key=_rank)[:_MOST]
    return LineMeasures(
        line=str(line),
        measures=[
            MeasureSeries(
                name=name, mark=marks[name][0], good=marks[name][1], points=points[name], is_compared=_is_compared(name)
            )
            for name in names
        ],
    )


def _is_compared(name: str) -> bool:
    return name == _GENERAL or not name.startswith(f"{DEFAULT_SUITE}/")


def _rank(name: str) -> tuple[int, bool, str]:
    """Return a sort key: losses of training, other labels, suites of the team's own, sizes, then the default suite."""
    if name.startswith(_LABEL):
        return 0, not any(word in name.lower() for word in _FIRST), name
    if name in SIZES:
        return 3, False, name
    if not _is_compared(name):
        return 4, False, name
    return (2 if name == _GENERAL else 1), False, name


def _sizes(row: VersionRow) -> Iterator[tuple[str, float, Kept]]:
    for name, size_bytes in zip(SIZES, (row.logical_bytes, row.stored_bytes), strict=True):
        yield name, float(size_bytes), (None, "")


def _labels(row: VersionRow) -> Iterator[tuple[str, float, Kept]]:
    for name, text in sorted(row.labels.items()):
        value = _number(text) if name.startswith(_LABEL) else None
        if value is not None:
            yield name, value, (None, "")


def _checks(found: Sequence[tuple[str, Sequence[dict[str, object]]]]) -> Iterator[tuple[str, float, Kept]]:
    for suite, checks in found:
        for check in checks:
            value = _number(check.get("value"))
            if value is not None:
                mark = _number(check.get("threshold"))
                yield f"{suite}/{check['name']}", value, (mark, _good(check, value, mark))


def _good(check: Mapping[str, object], value: float, mark: float | None) -> Side:
    """Infer from the outcome of a value which side of its mark passes; empty if that is open."""
    outcome = check.get("verdict")
    if mark is None or value == mark or outcome not in {"pass", "fail"}:
        return ""
    return "below" if (value < mark) == (outcome == "pass") else "above"


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
