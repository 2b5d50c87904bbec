"""Decisions by a margin: met, missed or undecided, look by look.

The worse end of an interval shows that a mark is met, the better end that it is missed. If several
comparisons must all be met, each is decided at its own tail; the claim that all are met is then
wrong no more often than that (Berger, 1982, Technometrics 24:295). A miss is decided at its own tail
as well, so that no comparison beside it takes it back.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deltareg.statistics.intervals import Interval
from deltareg.statistics.looks import look_tails
from deltareg.statistics.power import POWER
from deltareg.statistics.quantiles import TAIL, normal_quantile
from deltareg.words import Decision

_LEAST_P, _MOST_P, _HALVINGS = 1e-9, 0.5, 24


@dataclass(frozen=True, slots=True)
class Look:
    """The interval of a measure on a number of samples, and the mark to reach.

    Attributes:
        at: Returns the interval of the measure for a tail on each side.
        mark: The value to reach.
        is_upward: Whether more is better.
    """

    at: Callable[[float], Interval]
    mark: float
    is_upward: bool = True

    def is_met(self, tail: float) -> bool:
        """Whether even the worse end reaches the mark."""
        interval = self.at(tail)
        return interval.low >= self.mark if self.is_upward else interval.high <= self.mark

    def is_missed(self, tail: float) -> bool:
        """Whether even the better end misses the mark; NaN does."""
        interval = self.at(tail)
        return not (interval.high >= self.mark if self.is_upward else interval.low <= self.mark)


def decide(looks: Sequence[Look], planned: Sequence[int], *, tail: float = TAIL) -> Decision:
    """Return the decision at the newest look.

    Args:
        looks: The looks so far, in order.
        planned: How many samples each look sees, future looks included.
        tail: The error on one side.
    """
    newest, own = looks[-1], look_tails(planned, tail=tail)[len(looks) - 1]
    if newest.is_met(own):
        return "met"
    if newest.is_missed(own):
        return "missed"
    return "undecided"


def p_missed(looks: Sequence[Look], planned: Sequence[int]) -> float:
    """Return the least tail at which some look shows that the mark is missed, at most a half.

    It is a valid p-value, whenever the looks ended (Jennison and Turnbull, 1989, J. R. Stat. Soc. B
    51:305).
    """

    def is_shown(tail: float) -> bool:
        tails = look_tails(planned, tail=tail)
        return any(look.is_missed(own) for look, own in zip(looks, tails, strict=False))

    if is_shown(_LEAST_P):
        return _LEAST_P
    low, high = math.log(_LEAST_P), math.log(_MOST_P)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_shown(math.exp(middle)) else (middle, high)
    return math.exp(high)


def samples_to_decide(look: Look, n: int, *, power: float = POWER, tail: float = TAIL) -> int:
    """Return about how many samples would decide it if the measure is as estimated; 0 for none.

    Args:
        look: The look at n samples.
        n: The number of samples.
        power: How often they should decide it.
        tail: The error on one side.
    """
    interval, quantile = look.at(tail), normal_quantile(tail)
    middle = (interval.low + interval.high) / 2
    error = (interval.high - interval.low) / (2 * quantile)
    room = abs(middle - look.mark)
    if not (math.isfinite(error) and room > error / 100):
        return 0
    needed = n * ((quantile + normal_quantile(1 - power)) * error / room) ** 2
    return math.ceil(needed)
