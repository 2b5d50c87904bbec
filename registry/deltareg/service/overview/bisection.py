"""A search for the version that made a line bad: how far it is, by what somebody says of versions.

Nothing is kept: whoever asks brings what was judged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deltareg.db.channels import channels as channel_queries
from deltareg.db.lines import versions as queries
from deltareg.db.session import read
from deltareg.db.verdicts.outcomes import newest_outcomes
from deltareg.errors import InvalidInput, NotFound
from deltareg.gate.bisection import BisectionProgress, Mark, may_be_end, missing_ends, progress_of
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
    """How far a search is.

    Attributes:
        progress: How far.
        conflict: Why what was judged cannot be; empty where it can.
        hint: A version that may well be the end that is missing; it is told, never taken.
        versions: Those that matter now, newest first: between the ends, or the newest.
        more: How many others matter as well.
    """

    progress: BisectionProgress
    conflict: str
    hint: int | None
    versions: Sequence[VersionInfo]
    more: int


def search_by_hand(registry: Registry, caller: Caller, line: LineRef, marks: Mapping[int, Mark]) -> BisectionSearch:
    """Say which version to try next, by how versions of a line were judged.

    Raises:
        NotFound: There is no such line, or a version that was judged is newer than all.
    """
    caller.require(Right.READ, on=line)
    with read(registry.engine) as conn:
        delta = find_line(conn, caller, line)
        numbers = queries.live_numbers(conn, delta.id)
        if not numbers:
            raise NotFound(f"no version of {line} is left", fix=f"deltareg log {line}")
        if max(marks, default=0) > numbers[-1]:
            raise NotFound(f"there is no version {line}:v{max(marks)}", fix=f"deltareg log {line}")
        progress, conflict = _progress(line, numbers, marks)
        served: dict[int, list[str]] = {}
        for pointer in channel_queries.pointers(conn, [delta.id]):
            served.setdefault(pointer.number, []).append(pointer.name)
        shown, more = _choose_shown(numbers, marks, progress)
        rows = queries.versions_by_numbers(conn, delta.id, shown)
        suite = built_in(DEFAULT_SUITE)
        outcomes = newest_outcomes(conn, [row.id for row in rows], suite=suite.name, suite_digest=str(suite.digest))
    infos = [
        veil_base(caller, describe_plain(row, outcomes.get(row.id), channels=served.get(row.number, [])))
        for row in rows
    ]
    hint = _hint(numbers, marks, served, conflict)
    return BisectionSearch(progress, conflict, hint, infos, more)


def _progress(line: LineRef, numbers: Sequence[int], marks: Mapping[int, Mark]) -> tuple[BisectionProgress, str]:
    try:
        return progress_of(str(line), numbers, marks), ""
    except InvalidInput as error:
        return BisectionProgress(), error.message


def _choose_shown(
    numbers: Sequence[int], marks: Mapping[int, Mark], progress: BisectionProgress
) -> tuple[set[int], int]:
    """Give what is judged, and of the rest what is nearest to the version to try."""
    bounds = progress.bounds
    rest = [n for n in numbers if n not in marks]
    if bounds is not None:
        rest = [n for n in rest if bounds.good < n < bounds.bad]
    near = numbers[-1] if progress.next is None else progress.next
    room = max(_SHOWN - len(marks), 10)
    kept = sorted(rest, key=lambda n: (abs(n - near), n))[:room]
    return {*marks, *kept}, len(rest) - len(kept)


def _hint(
    numbers: Sequence[int], marks: Mapping[int, Mark], served: Mapping[int, Sequence[str]], conflict: str
) -> int | None:
    missing = missing_ends(marks)
    if conflict or not missing:
        return None
    prod = (number for number, names in served.items() if _PROD in names)
    number = next(prod, None) if missing[0] == "good" else numbers[-1]
    return number if number is not None and may_be_end(number, marks) else None
