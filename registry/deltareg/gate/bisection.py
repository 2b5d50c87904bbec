"""Bisection of a line: finds the first bad version with as few judgements as possible.

The assumptions are those of `git bisect`: the line was good at one version, is bad at a later one,
and changed once in between. A version that cannot be judged is skipped for its nearest neighbour.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from deltareg.errors import Inconclusive, InvalidInput

Mark = Literal["good", "bad", "skip"]
ENDS: Sequence[Mark] = ("good", "bad")


@dataclass(frozen=True, slots=True)
class BisectionBounds:
    """The bounds of the first bad version.

    Attributes:
        good: The last version known to be good.
        bad: The first version known to be bad.
        skipped: Versions between them that could not be judged.
        untried: Versions between them that were not judged yet.
    """

    good: int
    bad: int
    skipped: tuple[int, ...] = ()
    untried: tuple[int, ...] = ()

    @property
    def is_found(self) -> bool:
        """Whether the first bad version is determined."""
        return not self.skipped and not self.untried

    @property
    def middle(self) -> int | None:
        """The version to judge next, nearest to the middle; None if there is none."""
        between = sorted((*self.skipped, *self.untried))
        centre = (len(between) - 1) / 2
        places = [i for i, number in enumerate(between) if number in self.untried]
        nearest = min(places, key=lambda i: abs(i - centre), default=None)
        return None if nearest is None else between[nearest]

    @property
    def steps_most(self) -> int:
        """The most judgements that are still needed if none of them is a skip."""
        return len(self.untried).bit_length()


def bounds_of(numbers: Sequence[int], marks: Mapping[int, Mark]) -> BisectionBounds:
    """Return the bounds of the first bad version, as far as versions were judged.

    Args:
        numbers: Versions of the line in order.
        marks: The judgements, at least one version good and one bad.

    Raises:
        InvalidInput: A good version is not older than a bad one.
    """
    good = max(number for number, mark in marks.items() if mark == "good")
    bad = min(number for number, mark in marks.items() if mark == "bad")
    check_order(good, bad)
    between = [number for number in numbers if good < number < bad]
    skipped = tuple(number for number in between if number in marks)
    return BisectionBounds(good, bad, skipped, tuple(n for n in between if n not in marks))


@dataclass(frozen=True, slots=True)
class BisectionProgress:
    """The progress of a search by hand, in which somebody judges one version after the other.

    Attributes:
        missing: The ends that nobody has named yet.
        bounds: Between which versions the change is; None while an end is missing.
        deleted: Versions between the two that were deleted.
        next: The version to try next; None if there is none.
    """

    missing: tuple[Mark, ...] = ()
    bounds: BisectionBounds | None = None
    deleted: tuple[int, ...] = ()
    next: int | None = None


def ends_of(line: str, marks: Mapping[int, Mark]) -> tuple[int | None, int | None]:
    """Return the last version that was judged good and the first that was judged bad.

    Raises:
        InvalidInput: The good one is not the older one.
    """
    good = max((number for number, mark in marks.items() if mark == "good"), default=None)
    bad = min((number for number, mark in marks.items() if mark == "bad"), default=None)
    if good is not None and bad is not None and good > bad:
        raise InvalidInput(
            f"v{good} cannot be good while v{bad}, which is older, is bad",
            fix=f"judge one of the two anew: deltareg bisect bad {line}:v{good}, or deltareg bisect good {line}:v{bad}",
        )
    return good, bad


def missing_ends(marks: Mapping[int, Mark]) -> tuple[Mark, ...]:
    """Return the ends that nobody has named yet."""
    return tuple(end for end in ENDS if end not in marks.values())


def may_be_end(number: int, marks: Mapping[int, Mark]) -> bool:
    """Whether a version may be the missing end: no judgement contradicts it."""
    good = (n for n, mark in marks.items() if mark == "good")
    bad = (n for n, mark in marks.items() if mark == "bad")
    is_between = max(good, default=0) < number < min(bad, default=number + 1)
    return number not in marks and is_between


def progress_of(
    line: str, numbers: Sequence[int], marks: Mapping[int, Mark], *, proposed: int | None = None
) -> BisectionProgress:
    """Return the progress of a search by hand.

    Args:
        line: The name of the line, for messages.
        numbers: The existing versions in order, at least those between the two ends.
        marks: The judgements.
        proposed: The version proposed last, which stays the proposal as long as possible.

    Raises:
        InvalidInput: A good version is not older than a bad one.
    """
    good, bad = ends_of(line, marks)
    if good is None or bad is None:
        return BisectionProgress(missing_ends(marks))
    bounds = bounds_of(numbers, marks)
    still = proposed if proposed in bounds.untried else bounds.middle
    deleted = sorted(set(range(good, bad + 1)) - set(numbers))
    return BisectionProgress((), bounds, tuple(deleted), still)


def bisect(numbers: Sequence[int], judge: Callable[[int], Mark]) -> BisectionBounds:
    """Find the first bad version.

    Args:
        numbers: Versions of the line in order; the first is assumed good, the last bad, and both
            are judged before anything else.
        judge: Judges one version; called once for each.

    Raises:
        InvalidInput: There are fewer than two, the first is bad, or the last is good.
        Inconclusive: One of the two ends cannot be judged.
    """
    if len(numbers) < 2:
        raise InvalidInput("good and bad are the same version", fix="name a good one and a later")
    marks: dict[int, Mark] = {}
    for end, expected in zip((numbers[0], numbers[-1]), ENDS, strict=True):
        marks[end] = judge(end)
        _check_end(end, marks[end], wanted=expected)
    while True:
        bounds = bounds_of(numbers, marks)
        middle = bounds.middle
        if middle is None:
            return bounds
        marks[middle] = judge(middle)


def check_order(good: int, bad: int) -> None:
    """Refuse ends in the wrong order.

    Raises:
        InvalidInput: The good version is not the older one.
    """
    if good >= bad:
        raise InvalidInput(
            f"v{good} is not older than v{bad}", fix="the good version is the older one: --good v3 --bad v12"
        )


def _check_end(number: int, mark: Mark, *, wanted: Mark) -> None:
    if mark == "skip":
        raise Inconclusive(
            f"v{number} cannot be judged, so it is no end to search from", fix=f"name another version with --{wanted}"
        )
    if mark != wanted:
        other = "an older version" if wanted == "good" else "a newer version"
        raise InvalidInput(
            f"v{number} was said to be {wanted}, and is {mark}",
            fix=f"name {other} with --{wanted}, or look at what decides: --metric, --min, --max",
        )
