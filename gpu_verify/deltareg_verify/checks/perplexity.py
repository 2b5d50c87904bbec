"""How likely texts are with the delta: per token, beside the base or the version now promoted."""

import numpy as np

from deltareg.estimate import Estimate, exponential, of_difference, of_ratio
from deltareg.suite import CheckSpec
from deltareg_verify.case import Case
from deltareg_verify.check import Check, Finding
from deltareg_verify.engine import F64
from deltareg_verify.measured import judged, missing, nothing_promoted, rival


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare perplexity on a probe set, text by text."""
    other = rival(case, spec)
    if other is None:
        return nothing_promoted()
    texts = case.samples(spec.probes).texts
    ours = case.engine.losses("attached", texts)
    theirs = other.engine.losses(other.state, texts)
    if ours is None or theirs is None:
        return missing(spec, "needs a generative head and a tokenizer in the base")
    kept = ours[:, 1] > 0  # a text of one token has nothing to predict
    if not kept.any():
        return missing(spec, "no text of the probe set has two tokens")
    return _compared(case, spec, ours[kept], theirs[kept])


def _compared(case: Case, spec: CheckSpec, ours: F64, theirs: F64) -> Finding:
    seed = case.suite.seed
    found = exponential(of_ratio(ours[:, 0], ours[:, 1], seed=seed))
    baseline = exponential(of_ratio(theirs[:, 0], theirs[:, 1], seed=seed)).value
    factor = exponential(of_difference(ours[:, 0], theirs[:, 0], ours[:, 1], seed=seed))
    low, high = (float(np.float64(baseline) * end) for end in (factor.low, factor.high))
    change = Estimate(found.value, low, high, found.n)
    return judged(spec, found, baseline, told="perplexity", change=change)


CHECK = Check("perplexity", run)
