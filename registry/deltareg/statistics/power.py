"""How many samples it takes to show that nothing was lost, and which losses they would show.

Everything depends on the spread of the differences of single samples: `spread_of_shares` for right
and wrong answers, their standard deviation otherwise. A margin is the allowed loss.
"""

import math

from deltareg.statistics.quantiles import TAIL, normal_quantile, normal_tail, t_quantile

POWER = 0.8
"""How often what is so should be shown."""


def spread_of_shares(changed: float, difference: float = 0.0) -> float:
    """Return the spread of the differences of right (1) and wrong (0) answers on the same samples.

    Args:
        changed: The share of samples that are right for one and wrong for the other.
        difference: The difference of the two shares of right answers.
    """
    return math.sqrt(max(0.0, changed - difference * difference))


def samples_needed(spread: float, margin: float, *, gain: float = 0.0, power: float = POWER, tail: float = TAIL) -> int:
    """Return how many samples show that no more than a margin is lost.

    Args:
        spread: The spread of the differences of single samples.
        margin: The allowed loss; more than zero.
        gain: The true gain; negative for a loss, which must be smaller than the margin.
        power: How often it should be shown.
        tail: The one-sided error; with looks, the smallest of `look_tails`.
    """
    room = margin + gain
    if room <= 0:
        raise ValueError("no number of samples shows that less is lost than is lost")
    n = max(2, math.ceil((normal_quantile(tail) + normal_quantile(1 - power)) ** 2 * (spread / room) ** 2))
    while chance_to_pass(spread, margin, n, gain=gain, tail=tail) < power:
        n += max(1, n // 50)
    return n


def chance_to_pass(spread: float, margin: float, n: int, *, gain: float = 0.0, tail: float = TAIL) -> float:
    """Return how often n samples show that no more than a margin is lost.

    Args:
        spread: The spread of the differences of single samples.
        margin: The allowed loss.
        n: How many samples; at least two.
        gain: The true gain; negative for a loss.
        tail: The error on one side.
    """
    error = max(spread, 1e-12) / math.sqrt(n)
    return normal_tail(t_quantile(tail, n - 1) - (margin + gain) / error)
