"""Bisection of a line: which version is the first bad one, with as few judgements as can be.

It holds what `git bisect` holds: the line was good at one version, is bad at a later one, and
changed once in between. A version that nobody can judge is skipped for its nearest neighbour.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from deltareg.errors import Inconclusive, InvalidInput

Mark = Literal["good", "bad", "skip"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where the first bad version is.

    Attributes:
        good: The last version that is known to be good.
        bad: The first one that is known to be bad.
        skipped: What lies between them, which nobody could judge; empty when `bad` is the first.
    """

    good: int
    bad: int
    skipped: tuple[int, ...] = ()

    @property
    def is_found(self) -> bool:
        """Whether there is one first bad version."""
        return not self.skipped


def bisect(numbers: Sequence[int], judge: Callable[[int], Mark]) -> Bounds:
    """Find the first bad version.

    Args:
        numbers: Versions of the line in order; the first is held to be good, the last bad, and
            both are judged before anything else.
        judge: Judges one version; called once for each.

    Raises:
        InvalidInput: There are less than two, the first is bad, or the last is good.
        Inconclusive: One of the two ends cannot be judged.
    """
    if len(numbers) < 2:
        raise InvalidInput("good and bad are the same version", fix="name a good one and a later")
    good, bad = numbers[0], numbers[-1]
    _check_end(good, judge(good), wanted="good")
    _check_end(bad, judge(bad), wanted="bad")
    skipped: set[int] = set()
    while True:
        between = [n for n in numbers if good < n < bad]
        middle = _middle(between, skipped)
        if middle is None:
            return Bounds(good, bad, tuple(between))
        match judge(middle):
            case "good":
                good = middle
            case "bad":
                bad = middle
            case "skip":
                skipped.add(middle)


def _middle(between: Sequence[int], skipped: Collection[int]) -> int | None:
    """Give the version nearest to the middle that is not skipped; None when all are."""
    places = [i for i, number in enumerate(between) if number not in skipped]
    centre = (len(between) - 1) / 2
    nearest = min(places, key=lambda i: abs(i - centre), default=None)
    return None if nearest is None else between[nearest]


def _check_end(number: int, mark: Mark, *, wanted: Mark) -> None:
    if mark == "skip":
        raise Inconclusive(
            f"v{number} cannot be judged, so it is no end to search from",
            fix=f"name another version with --{wanted}",
        )
    if mark != wanted:
        other = "an older version" if wanted == "good" else "a newer version"
        raise InvalidInput(
            f"v{number} was said to be {wanted}, and is {mark}",
            fix=f"name {other} with --{wanted}, or look at what decides: --metric, --min, --max",
        )
