"""Several comparisons together: controlling the error when any of them may reject."""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values so that rejecting below a level errs at most that often in all of them.

    (Holm, 1979, Scand. J. Stat. 6:65; it asks for no independence.)

    Args:
        p_values: One per comparison, in any order.
    """
    adjusted = [1.0] * len(p_values)
    least = 0.0
    order = sorted(range(len(p_values)), key=lambda number: p_values[number])
    for rank, number in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * p_values[number]))
        adjusted[number] = least
    return adjusted
