"""How many samples of a labelled probe set get their label: texts, images, whatever has a class."""

import numpy as np
from numpy.typing import NDArray

from deltareg.estimate import Estimate, of_difference, of_share
from deltareg.probe_set import Samples
from deltareg.suite import CheckSpec
from deltareg_verify.case import Case
from deltareg_verify.check import Check, Finding
from deltareg_verify.engine import F64, Engine, State
from deltareg_verify.measured import judged, missing, nothing_promoted, rival

_BATCH = 32
_SCORES = "logits"


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare the shares of right answers, sample by sample."""
    other = rival(case, spec)
    if other is None:
        return nothing_promoted()
    samples = case.samples(spec.probes)
    ours = hits(case.engine, "attached", samples)
    theirs = hits(other.engine, other.state, samples)
    if ours is None or theirs is None:
        return missing(spec, "needs a head that gives one score a class for each sample")
    found, baseline = of_share(int(ours.sum()), len(ours)), float(theirs.mean())
    step = of_difference(ours, theirs, np.ones(len(ours)), seed=case.suite.seed)
    change = Estimate(found.value, baseline + step.low, baseline + step.high, found.n)
    return judged(spec, found, baseline, told="accuracy", change=change)


def hits(engine: Engine, state: State, samples: Samples) -> F64 | None:
    """Say for every sample whether the highest score is its label's: (n,) of ones and zeros.

    None where the network gives no scores, or not one row a sample.
    """
    labels = samples.labels
    inputs = engine.encode(samples.texts) if samples.texts else samples.arrays
    if labels is None or inputs is None:
        return None
    found: list[NDArray[np.bool_]] = []
    for start in range(0, len(labels), _BATCH):
        rows = slice(start, start + _BATCH)
        scores = engine.outputs_for(state, {k: v[rows] for k, v in inputs.items()}).get(_SCORES)
        if scores is None or scores.shape[0] != len(labels[rows]) or scores.ndim != 2:
            return None
        sane = np.isfinite(scores).all(-1)  # a NaN is the highest of all to NumPy
        found.append((scores.argmax(-1) == labels[rows]) & sane)
    return np.concatenate(found).astype(np.float64)


CHECK = Check("accuracy", run)
