"""From the results of a task's rows to a measure with its interval, aggregated as lm-eval does."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from deltareg.statistics.intervals import F64
from deltareg.suites.estimate import Estimate, exponential, of_difference, of_drawn, of_ratio, of_share, rows_drawn
from deltareg_verify.engine.changes import of_shares

Values = Sequence[object]
Aggregate = Callable[[Values], float]


@dataclass(frozen=True, slots=True)
class PairedMeasures:
    """A measure of this version beside that of another on the same rows.

    Attributes:
        found: This version's.
        baseline: The other's.
        change: This version's, with the interval of how far the two are apart.
    """

    found: Estimate
    baseline: float
    change: Estimate


@dataclass(frozen=True, slots=True)
class _Ratio:
    """A measure that is one sum over rows by another: the contribution and the weight of each row."""

    parts: F64
    sizes: F64


def measure(ours: Values, theirs: Values, *, by: str, aggregate: Aggregate, seed: int) -> PairedMeasures:
    """Aggregate the rows of both.

    Args:
        ours: What lm-eval keeps of each row for this version.
        theirs: The same rows for the other side.
        by: The name of the aggregation.
        aggregate: The aggregation itself.
        seed: The seed of the draws.
    """
    a, b = _ratio(ours, by), _ratio(theirs, by)
    if a is None or b is None:
        return _whole(ours, theirs, aggregate, seed=seed)
    if by in {"perplexity", "weighted_perplexity"}:
        return _perplexity(a, b, seed=seed)
    both = np.concatenate([a.parts, b.parts])
    is_share = by == "mean" and bool(np.isin(both, (0.0, 1.0)).all())
    count = len(ours)
    estimate = of_share(float(a.parts.sum()), count) if is_share else of_ratio(a.parts, a.sizes, seed=seed)
    baseline = float(b.parts.sum() / b.sizes.sum())
    if is_share:
        return PairedMeasures(estimate, baseline, of_shares(b.parts, a.parts).beside)
    step = of_difference(a.parts, b.parts, a.sizes, seed=seed)
    change = Estimate(estimate.value, baseline + step.low, baseline + step.high, count)
    return PairedMeasures(estimate, baseline, change)


def no_number(ours: Values, baseline: float) -> PairedMeasures:
    """Return the measure of a network whose likelihoods are not numbers: none, which fails."""
    none = Estimate(math.nan, math.nan, math.nan, len(ours))
    return PairedMeasures(none, baseline, none)


def _perplexity(a: _Ratio, b: _Ratio, *, seed: int) -> PairedMeasures:
    estimate = exponential(of_ratio(a.parts, a.sizes, seed=seed))
    baseline = exponential(of_ratio(b.parts, b.sizes, seed=seed)).value
    factor = exponential(of_difference(a.parts, b.parts, a.sizes, seed=seed))
    change = Estimate(estimate.value, baseline * factor.low, baseline * factor.high, estimate.n)
    return PairedMeasures(estimate, baseline, change)


def _whole(ours: Values, theirs: Values, aggregate: Aggregate, *, seed: int) -> PairedMeasures:
    """Measure what only all rows together have, such as BLEU, by redrawing rows."""
    count = len(ours)
    draws = rows_drawn(count, seed=seed)
    a, b = (
        np.array([aggregate([values[row] for row in rows]) for rows in draws], np.float64) for values in (ours, theirs)
    )
    value, baseline = float(aggregate(ours)), float(aggregate(theirs))
    step = of_drawn(value - baseline, a - b, count)
    change = Estimate(value, baseline + step.low, baseline + step.high, count)
    return PairedMeasures(of_drawn(value, a, count), baseline, change)


def _ratio(values: Values, by: str) -> _Ratio | None:
    """Return an aggregation as one sum by another, where it is one."""
    ones = np.ones(len(values))
    match by:
        case "mean":
            return _Ratio(np.array(values, np.float64), ones)
        case "perplexity":
            return _Ratio(-np.array(values, np.float64), ones)
        case "weighted_perplexity" | "bits_per_byte":
            both = np.array(values, np.float64)
            unit = math.log(2) if by == "bits_per_byte" else 1.0
            return _Ratio(-both[:, 0] / unit, both[:, 1])
        case "brier_score":
            pairs = cast("Sequence[tuple[int, F64]]", values)
            return _Ratio(np.array([_miss(right, given) for right, given in pairs]), ones)
        case _:
            return None


def _miss(right: int, given: F64) -> float:
    wanted = np.eye(len(given))[right]
    return float(((np.asarray(given) - wanted) ** 2).sum())
