"""A search for the version that made a line bad, from somebody's judgements of versions.

Nothing is stored: the caller sends all judgements each time.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.channels import channels as channel_queries
from deltareg.db.lines import numbers
from deltareg.db.lines import versions as queries
from deltareg.db.session import read
from deltareg.db.verdicts.outcomes import newest_outcomes
from deltareg.errors import InvalidInput, NotFound
from deltareg.gate.bisection import BisectionProgress, Mark, ends_of, may_be_end, missing_ends, progress_of
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.describe import describe_plain
from deltareg.service.lines.veil import veil_base
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_line
from deltareg.suites.suite import DEFAULT_SUITE, built_in
from deltareg.wire import VersionInfo

_SHOWN = 40
_PROD = "prod"


@dataclass(frozen=True, slots=True)
class BisectionSearch:
    """The state of a search.

    Attributes:
        progress: How far the search is.
        conflict: Why the judgements contradict each other; empty if they do not.
        hint: A version that is probably the missing end; a suggestion, never used by itself.
        versions: The versions that matter now, newest first: those between the ends, or the newest.
        more: How many other versions matter as well.
    """

    progress: BisectionProgress
    conflict: str
    hint: int | None
    versions: Sequence[VersionInfo]
    more: int


def search_by_hand(registry: Registry, caller: Caller, line: LineRef, marks: Mapping[int, Mark]) -> BisectionSearch:
    """Return which version to try next, given the judgements of versions of a line.

    Raises:
        NotFound: There is no such line, or a judged version does not exist yet.
    """
    caller.require(Right.READ, on=line)
    with read(registry.engine) as conn:
        delta = find_line(conn, caller, line)
        newest = numbers.newest_numbers(conn, delta.id, limit=_room(marks) + len(marks))
        if not newest:
            raise NotFound(f"no version of {line} is left", fix=f"deltareg log {line}")
        if max(marks, default=0) > newest[-1]:
            raise NotFound(f"there is no version {line}:v{max(marks)}", fix=f"deltareg log {line}")
        progress, conflict = _progress(conn, delta.id, line, marks)
        channels: dict[int, list[str]] = {}
        for pointer in channel_queries.pointers(conn, [delta.id]):
            channels.setdefault(pointer.number, []).append(pointer.name)
        bounds = progress.bounds
        shown = _choose_shown(newest if bounds is None else bounds.untried, marks, progress.next or newest[-1])
        left = numbers.count_live(conn, delta.id, beside=marks) if bounds is None else len(bounds.untried)
        rows = queries.versions_by_numbers(conn, delta.id, shown)
        suite = built_in(DEFAULT_SUITE)
        outcomes = newest_outcomes(conn, [row.id for row in rows], suite=suite.name, suite_digest=str(suite.digest))
    infos = [
        veil_base(caller, describe_plain(row, outcomes.get(row.id), channels=channels.get(row.number, [])))
        for row in rows
    ]
    hint = _hint(newest[-1], marks, channels, conflict)
    return BisectionSearch(progress, conflict, hint, infos, left - len(shown - marks.keys()))


def _progress(
    conn: sa.Connection, delta_id: int, line: LineRef, marks: Mapping[int, Mark]
) -> tuple[BisectionProgress, str]:
    """Return how far a search is, and what contradicts it; of a long line only what lies between its ends is read."""
    try:
        good, bad = ends_of(str(line), marks)
    except InvalidInput as error:
        return BisectionProgress(), error.message
    if good is None or bad is None:
        return BisectionProgress(missing_ends(marks)), ""
    return progress_of(str(line), numbers.live_numbers(conn, delta_id, good, bad), marks), ""


def _room(marks: Mapping[int, Mark]) -> int:
    """Return how many versions are shown beside the judged ones."""
    return max(_SHOWN - len(marks), 10)


def _choose_shown(others: Sequence[int], marks: Mapping[int, Mark], near: int) -> set[int]:
    """Choose what to show: the judged versions, and of others, in order, those nearest to one."""
    rest = [n for n in others if n not in marks]
    room, place = _room(marks), bisect_left(rest, near)
    beside = rest[max(0, place - room) : place + room]  # a line may have a hundred thousand
    nearest = sorted(beside, key=lambda n: (abs(n - near), n))[:room]
    return {*marks, *nearest}


def _hint(newest: int, marks: Mapping[int, Mark], served: Mapping[int, Sequence[str]], conflict: str) -> int | None:
    ends = missing_ends(marks)
    if conflict or not ends:
        return None
    prod = (number for number, names in served.items() if _PROD in names)
    number = next(prod, None) if ends[0] == "good" else newest
    return number if number is not None and may_be_end(number, marks) else None
