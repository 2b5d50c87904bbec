"""How measures change from one version to another on the same samples: value, interval and n.

The checks and the comparison of two versions both take them from here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deltareg.statistics.intervals import Interval, mean_interval, paired_interval
from deltareg.statistics.quantiles import TAIL, normal_quantile
from deltareg.suites.estimate import Estimate, exp, exponential, of_ratio, of_share
from deltareg.suites.estimate import within as surrounded
from deltareg.suites.probe_set import Samples
from deltareg_verify.engine.engine import F32, F64, DeltaEngine, State

_BATCH = 32
_CLASS_SCORES = "logits"
_PAIR_SCORES = "logits_per_image"


@dataclass(frozen=True, slots=True)
class EngineSide:
    """One of the two versions to compare: an engine, and the state in which it runs."""

    engine: DeltaEngine
    state: State


@dataclass(frozen=True, slots=True)
class MeasureChange:
    """A measure of two versions, and its change.

    Attributes:
        a: The measure of the version before.
        b: The measure of the version after.
        change: The change from a to b.
        is_factor: Whether the change is b / a; else it is b - a.
        is_alike: Whether both count the same things, so that a and b may stand side by side.
        at: Returns the interval of the change for a tail on each side; None where only that of
            `change` is known.
    """

    a: Estimate
    b: Estimate
    change: Estimate
    is_factor: bool = False
    is_alike: bool = True
    at: Callable[[float], Interval] | None = None

    @property
    def is_decided(self) -> bool:
        """Whether the interval of the change leaves out the value of no change."""
        nothing = 1.0 if self.is_factor else 0.0
        return self.is_alike and not self.change.low <= nothing <= self.change.high

    @property
    def beside(self) -> Estimate:
        """The measure of the version after, with the interval of the change around it."""
        return surrounded(self.b.value, self.beside_at(TAIL), self.b.n)

    def beside_at(self, tail: float) -> Interval:
        """Return the interval of the change around the version after, for a tail on each side."""
        default = Interval(self.change.low, self.change.high)
        interval = default if self.at is None or tail == TAIL else self.at(tail)
        a, ends = self.a.value, (interval.low, interval.high)
        low, high = (a * end if self.is_factor else a + end for end in ends)
        if self.at is None:
            return widen_interval(Interval(low, high), self.b.value, tail)
        return Interval(low, high)


def widen_interval(known: Interval, value: float, tail: float) -> Interval:
    """Widen a 95 % interval to another tail, by the ratio of a normal distribution's quantiles."""
    by = normal_quantile(tail) / normal_quantile(TAIL)
    return Interval(value - by * (value - known.low), value + by * (known.high - value))


@dataclass(frozen=True, slots=True)
class RowMeasure:
    """A measure that each sample contributes to on its own, so that more samples mean more rows.

    Attributes:
        rows: Returns the contribution of each sample, (n, …); None where there is no such measure.
        change: Compares rows of two versions; None where no row counts.
    """

    rows: Callable[[EngineSide, Samples], F64 | None]
    change: Callable[[F64, F64], MeasureChange | None]

    def __call__(self, a: EngineSide, b: EngineSide, samples: Samples, *, seed: int = 0) -> MeasureChange | None:
        """Compare two sides on all samples; nothing is drawn, so the seed has no effect."""
        before, after = self.rows(a, samples), self.rows(b, samples)
        return None if before is None or after is None else self.change(before, after)


def _losses(side: EngineSide, samples: Samples) -> F64 | None:
    return side.engine.losses(side.state, samples.texts) if samples.texts else None


def of_losses(before: F64, after: F64) -> MeasureChange | None:
    """Compare losses of the same texts: (n, 2) of nats and tokens; None where no token counts."""
    is_counted = (before[:, 1] > 0) & (after[:, 1] > 0)  # a text of one token has nothing to predict
    if not is_counted.any():
        return None
    before, after = before[is_counted], after[is_counted]
    theirs, ours = (exponential(of_ratio(x[:, 0], x[:, 1])) for x in (before, after))
    steps, sizes = after[:, 0] - before[:, 0], after[:, 1]

    def at(tail: float) -> Interval:
        interval = mean_interval(steps, sizes, tail=tail)
        return Interval(exp(interval.low), exp(interval.high))

    change = surrounded(exp(float(steps.sum() / sizes.sum())), at(TAIL), len(steps))
    is_alike = np.array_equal(before[:, 1], after[:, 1])  # two tokenizers may count otherwise
    return MeasureChange(theirs, ours, change, is_factor=True, is_alike=is_alike, at=at)


def of_shares(before: F64, after: F64) -> MeasureChange:
    """Compare shares of right answers on the same samples: (n,) of 0 and 1, or a half in between.

    A half counts as a partly right answer, which makes the interval a little too wide.
    """
    n, steps = len(after), after - before
    gained, lost = float(steps[steps > 0].sum()), float(-steps[steps < 0].sum())

    def at(tail: float) -> Interval:
        return paired_interval(gained, lost, n, tail=tail)

    theirs, ours = (of_share(float(x.sum()), n) for x in (before, after))
    return MeasureChange(theirs, ours, surrounded((gained - lost) / n, at(TAIL), n), at=at)


def retrieval(
    a: EngineSide,
    b: EngineSide,
    samples: Samples,
    *,
    seed: int = 0,  # noqa: ARG001  # measures that draw take one
    within: int = 1,
) -> MeasureChange | None:
    """Compare recall; None without scores of paired texts and images."""
    before, after = (_found_pairs(side, samples, within=within) for side in (a, b))
    return None if before is None or after is None else of_shares(before, after)


def _hits(side: EngineSide, samples: Samples) -> F64 | None:
    """Return for every sample whether its label has the highest score: (n,) of ones and zeros.

    None where the network returns no scores, or not one row a sample.
    """
    engine, labels = side.engine, samples.labels
    inputs = engine.encode(samples.texts) if samples.texts else samples.arrays
    if labels is None or inputs is None:
        return None
    hits: list[NDArray[np.bool_]] = []
    for start in range(0, len(labels), _BATCH):
        rows = slice(start, start + _BATCH)
        batch = {k: v[rows] for k, v in inputs.items()}
        scores = engine.outputs_for(side.state, batch).get(_CLASS_SCORES)
        if scores is None or scores.shape[0] != len(labels[rows]) or scores.ndim != 2:
            return None
        sane = np.isfinite(scores).all(-1)  # a NaN is the highest of all to NumPy
        hits.append((scores.argmax(-1) == labels[rows]) & sane)
    return np.concatenate(hits).astype(np.float64)


def _found_pairs(side: EngineSide, samples: Samples, *, within: int) -> F64 | None:
    """Return how many of each pair's two searches find the partner: (n,) of 0, 0.5 and 1.

    The two searches are not independent, so a pair is one sample. None without such scores.
    """
    if not samples.arrays:
        return None
    scores = side.engine.outputs_for(side.state, samples.arrays).get(_PAIR_SCORES)
    count = len(samples)
    if scores is None or scores.shape != (count, count):
        return None
    return (_is_found(scores, within) + _is_found(scores.T, within)) / 2


def _is_found(scores: F32, within: int) -> F64:
    own = np.diagonal(scores)[:, None]
    # Equal scores count against it: a network that gives one number to all finds nothing.
    better = (scores >= own).sum(1) - 1
    is_found: NDArray[np.bool_] = (better < within) & np.isfinite(scores).all(1)
    return is_found.astype(np.float64)


perplexity = RowMeasure(_losses, of_losses)
"""Without texts of two tokens, a generative head or a tokenizer there is none."""

accuracy = RowMeasure(_hits, of_shares)
"""Without labels or scores of classes there is none."""

Measure = Callable[..., MeasureChange | None]
MEASURES: Mapping[str, Measure] = {"perplexity": perplexity, "accuracy": accuracy, "retrieval": retrieval}
