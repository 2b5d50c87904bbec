"""How measures change from one version to another, on the same samples: value, interval and n.

The checks and the comparison of two versions both take them from here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deltareg.suites.estimate import Estimate, exponential, of_difference, of_ratio, of_share
from deltareg.suites.probe_set import Samples
from deltareg_verify.engine import F32, F64, Engine, State

_BATCH = 32
_CLASS_SCORES = "logits"
_PAIR_SCORES = "logits_per_image"


@dataclass(frozen=True, slots=True)
class Side:
    """One of two that are compared: an engine, and the state in which it runs."""

    engine: Engine
    state: State


@dataclass(frozen=True, slots=True)
class Change:
    """A measure of two versions.

    Attributes:
        a: Of the one before.
        b: Of the one after.
        change: From a to b.
        is_factor: Whether the change is b / a; else it is b - a.
        is_alike: Whether the two count the same things, so that a and b may be set side by side.
    """

    a: Estimate
    b: Estimate
    change: Estimate
    is_factor: bool = False
    is_alike: bool = True

    @property
    def is_decided(self) -> bool:
        """Whether the interval of the change leaves out that there is none."""
        nothing = 1.0 if self.is_factor else 0.0
        return self.is_alike and not self.change.low <= nothing <= self.change.high

    @property
    def beside(self) -> Estimate:
        """The measure of the one after, with the interval that the change leaves around it."""
        a, ends = self.a.value, (self.change.low, self.change.high)
        low, high = (a * end if self.is_factor else a + end for end in ends)
        return Estimate(self.b.value, low, high, self.b.n)


def perplexity(a: Side, b: Side, samples: Samples, *, seed: int) -> Change | None:
    """Compare perplexity; None without texts of two tokens, a generative head or a tokenizer."""
    before = a.engine.losses(a.state, samples.texts) if samples.texts else None
    after = b.engine.losses(b.state, samples.texts) if samples.texts else None
    if before is None or after is None:
        return None
    kept = (before[:, 1] > 0) & (after[:, 1] > 0)  # a text of one token has nothing to predict
    if not kept.any():
        return None
    before, after = before[kept], after[kept]
    theirs, ours = (exponential(of_ratio(x[:, 0], x[:, 1], seed=seed)) for x in (before, after))
    change = exponential(of_difference(after[:, 0], before[:, 0], after[:, 1], seed=seed))
    is_alike = np.array_equal(before[:, 1], after[:, 1])  # two tokenizers may count otherwise
    return Change(theirs, ours, change, is_factor=True, is_alike=is_alike)


def accuracy(a: Side, b: Side, samples: Samples, *, seed: int) -> Change | None:
    """Compare shares of right answers; None without labels or scores of classes."""
    return _of_shares(_hits(a, samples), _hits(b, samples), seed=seed)


def retrieval(a: Side, b: Side, samples: Samples, *, seed: int, within: int = 1) -> Change | None:
    """Compare recall; None without scores of texts and images in pairs."""
    before, after = (_found_pairs(side, samples, within=within) for side in (a, b))
    return _of_shares(before, after, seed=seed)


Measure = Callable[..., Change | None]
MEASURES: Mapping[str, Measure] = {
    "perplexity": perplexity, "accuracy": accuracy, "retrieval": retrieval,
}  # fmt: skip


def _of_shares(before: F64 | None, after: F64 | None, *, seed: int) -> Change | None:
    if before is None or after is None:
        return None
    theirs, ours = (of_share(float(x.sum()), len(x)) for x in (before, after))
    return Change(theirs, ours, of_difference(after, before, np.ones(len(after)), seed=seed))


def _hits(side: Side, samples: Samples) -> F64 | None:
    """Say for every sample whether the highest score is its label's: (n,) of ones and zeros.

    None where the network gives no scores, or not one row a sample.
    """
    engine, labels = side.engine, samples.labels
    inputs = engine.encode(samples.texts) if samples.texts else samples.arrays
    if labels is None or inputs is None:
        return None
    found: list[NDArray[np.bool_]] = []
    for start in range(0, len(labels), _BATCH):
        rows = slice(start, start + _BATCH)
        given = {k: v[rows] for k, v in inputs.items()}
        scores = engine.outputs_for(side.state, given).get(_CLASS_SCORES)
        if scores is None or scores.shape[0] != len(labels[rows]) or scores.ndim != 2:
            return None
        sane = np.isfinite(scores).all(-1)  # a NaN is the highest of all to NumPy
        found.append((scores.argmax(-1) == labels[rows]) & sane)
    return np.concatenate(found).astype(np.float64)


def _found_pairs(side: Side, samples: Samples, *, within: int) -> F64 | None:
    """Say for every pair how many of its two searches find the partner: (n,) of 0, 0.5 and 1.

    The two are not independent, so a pair is one sample. None without such scores.
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
