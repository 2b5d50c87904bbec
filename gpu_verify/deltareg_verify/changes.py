"""How measures change from one version to another, on the same samples: value, interval and n.

The measures and their estimators are those of the checks, so a change here is what a check sees.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from deltareg.estimate import Estimate, exponential, of_difference, of_ratio, of_share
from deltareg.probe_set import Samples
from deltareg_verify.checks.accuracy import hits
from deltareg_verify.checks.retrieval import found_pairs
from deltareg_verify.engine import Engine, State


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
        change: From a to b; None where the two do not count the same things.
        is_factor: Whether the change is b / a; else it is b - a.
    """

    a: Estimate
    b: Estimate
    change: Estimate | None
    is_factor: bool = False

    @property
    def is_decided(self) -> bool:
        """Whether the interval of the change leaves out that there is none."""
        nothing = 1.0 if self.is_factor else 0.0
        return self.change is not None and not self.change.low <= nothing <= self.change.high


def perplexity(a: Side, b: Side, samples: Samples, *, seed: int) -> Change | None:
    """Compare perplexity; None without texts, a generative head or a tokenizer."""
    before = a.engine.losses(a.state, samples.texts) if samples.texts else None
    after = b.engine.losses(b.state, samples.texts) if samples.texts else None
    if before is None or after is None:
        return None
    kept = (before[:, 1] > 0) & (after[:, 1] > 0)  # a text of one token has nothing to predict
    if not kept.any():
        return None
    before, after = before[kept], after[kept]
    ours, theirs = (exponential(of_ratio(x[:, 0], x[:, 1], seed=seed)) for x in (before, after))
    if not np.array_equal(before[:, 1], after[:, 1]):
        return Change(ours, theirs, None, is_factor=True)
    change = of_difference(after[:, 0], before[:, 0], before[:, 1], seed=seed)
    return Change(ours, theirs, exponential(change), is_factor=True)


def accuracy(a: Side, b: Side, samples: Samples, *, seed: int) -> Change | None:
    """Compare shares of right answers; None without labels or scores of classes."""
    before, after = hits(a.engine, a.state, samples), hits(b.engine, b.state, samples)
    if before is None or after is None:
        return None
    ours, theirs = (of_share(float(x.sum()), len(x)) for x in (before, after))
    return Change(ours, theirs, of_difference(after, before, np.ones(len(after)), seed=seed))


def retrieval(a: Side, b: Side, samples: Samples, *, seed: int, within: int = 1) -> Change | None:
    """Compare recall; None without scores of texts and images in pairs."""
    before = found_pairs(a.engine, a.state, samples, within=within)
    after = found_pairs(b.engine, b.state, samples, within=within)
    if before is None or after is None:
        return None
    ours, theirs = (of_share(float(x.sum()), len(x)) for x in (before, after))
    return Change(ours, theirs, of_difference(after, before, np.ones(len(after)), seed=seed))


Measure = Callable[..., Change | None]
MEASURES: Mapping[str, Measure] = {
    "perplexity": perplexity, "accuracy": accuracy, "retrieval": retrieval,
}  # fmt: skip
