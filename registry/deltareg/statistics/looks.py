"""Looks before all samples are in, which together err no more often than one look at all of them.

Each look spends a share of the error, as large as the share of the samples that are new to it. The
sum bounds how often any of them errs, however they depend on each other. An end that follows from
their being normal (Kim and DeMets, 1987, Biometrika 74:149) gains two of a hundred in power, and
errs up to a quarter too often where a tail is long: docs/statistics.md.
"""

from collections.abc import Sequence

from deltareg.statistics.quantiles import TAIL


def look_tails(samples: Sequence[int], *, tail: float = TAIL) -> tuple[float, ...]:
    """Give the error on one side with which each look is to be made.

    Args:
        samples: How many samples each look sees, growing.
        tail: The error on one side of all of them together.
    """
    counts_before = (0, *samples[:-1])
    return tuple(tail * (count - before) / samples[-1] for before, count in zip(counts_before, samples, strict=True))


def growing(first: int, most: int) -> tuple[int, ...]:
    """Plan looks: each at twice as many samples as the one before, the last at all."""
    counts: list[int] = []
    while first * 1.5 < most:
        counts.append(first)
        first *= 2
    return (*counts, most)
