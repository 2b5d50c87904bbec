"""A search by hand for the version that made a line bad; the address holds the judgements."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

from deltareg.errors import InvalidInput
from deltareg.gate.bisection import Mark
from deltareg.pages.asking import ViewRequest
from deltareg.pages.guard import ROOT
from deltareg.pages.routing import View
from deltareg.service.overview.bisection import search_by_hand
from deltareg.wire import Answer, VersionInfo

_VERSION: Final = re.compile(r"v([1-9][0-9]{0,8})")
_MARKS: Final[Mapping[str, Mark]] = {"good": "good", "bad": "bad", "skip": "skip"}
_MOST = 200


class BisectPage(Answer):
    """The state of a search.

    `marks` holds the judgement of each version. The first bad one lies between `good` and `bad`,
    and `next` is the version to try. `more` versions matter beside the listed ones.
    """

    line: str
    marks: dict[int, Mark]
    good: int | None
    bad: int | None
    next: int | None
    untried: int
    steps_most: int
    is_found: bool
    skipped: list[int]
    deleted: list[int]
    missing: list[Mark]
    hint: int | None
    conflict: str
    versions: list[VersionInfo]
    more: int

    def link_with_mark(self, number: int, mark: str) -> str:
        """Return the address with this mark on a version; an empty mark removes its judgement."""
        marks: dict[int, str] = {**self.marks, number: mark}
        query = {f"v{n}": marks[n] for n in sorted(marks) if marks[n]}
        path = f"{ROOT}/deltas/{self.line}/bisect"
        return f"{path}?{urlencode(query)}" if query else path

    @property
    def verdicts(self) -> dict[int, str]:
        """Return the newest verdict of each listed version that has one."""
        return {one.version: one.verdict for one in self.versions if one.verdict}

    @property
    def unlisted(self) -> dict[int, Mark]:
        """Return the judged versions that are not in the list."""
        row_numbers = {one.version for one in self.versions}
        return {number: mark for number, mark in self.marks.items() if number not in row_numbers}


def _bisect(ask: ViewRequest) -> BisectPage:
    marks = _marks(ask)
    search = search_by_hand(ask.registry, ask.caller, ask.line, marks)
    bounds = search.progress.bounds
    ends = {mark: [n for n, said in marks.items() if said == mark] for mark in ("good", "bad")}
    return BisectPage(
        line=str(ask.line),
        marks=marks,
        good=max(ends["good"], default=None),
        bad=min(ends["bad"], default=None),
        next=search.progress.next,
        untried=len(bounds.untried) if bounds else 0,
        steps_most=bounds.steps_most if bounds else 0,
        is_found=bounds is not None and bounds.is_found,
        skipped=sorted(n for n, mark in marks.items() if mark == "skip"),
        deleted=list(search.progress.deleted),
        missing=list(search.progress.missing),
        hint=search.hint,
        conflict=search.conflict,
        versions=list(search.versions),
        more=search.more,
    )


def _marks(ask: ViewRequest) -> dict[int, Mark]:
    """Return the judgements in the address; `v3=` is none.

    Raises:
        InvalidInput: A value is no judgement, or there are too many.
    """
    marks: dict[int, Mark] = {}
    for name, value in ask.query.items():
        match = _VERSION.fullmatch(name)
        if match is None or not value:
            continue
        mark = _MARKS.get(value)
        if mark is None:
            raise InvalidInput(f"a version is good, bad or skip, not {value[:40]!r}", fix=f"write {name}=good")
        marks[int(match[1])] = mark
    if len(marks) > _MOST:
        raise InvalidInput(f"at most {_MOST} versions are judged in a search")
    return dict(sorted(marks.items()))


PAGES = (View("/deltas/{ns}/{name}/bisect", _bisect, "bisect.html.jinja", "Deltas"),)
