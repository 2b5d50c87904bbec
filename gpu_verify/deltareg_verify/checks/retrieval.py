"""How many texts find their image among all, and images their text: recall of a two-tower network.

The probe set holds pairs: row i of `pixel_values` belongs to row i of `input_ids`.
"""

import numpy as np
from numpy.typing import NDArray

from deltareg.estimate import Estimate, of_difference, of_share
from deltareg.probe_set import Samples
from deltareg.suite import CheckSpec
from deltareg_verify.case import Case
from deltareg_verify.check import Check, Finding
from deltareg_verify.engine import F32, F64, Engine, State
from deltareg_verify.measured import judged, missing, nothing_promoted, rival

_SCORES = "logits_per_image"


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare recall in both directions, pair by pair."""
    other = rival(case, spec)
    if other is None:
        return nothing_promoted()
    samples, within = case.samples(spec.probes), int(spec.number("within"))
    ours = found_pairs(case.engine, "attached", samples, within=within)
    theirs = found_pairs(other.engine, other.state, samples, within=within)
    if ours is None or theirs is None:
        return missing(spec, "needs a network that scores texts and images in pairs")
    found, baseline = of_share(float(ours.sum()), len(ours)), float(theirs.mean())
    step = of_difference(ours, theirs, np.ones(len(ours)), seed=case.suite.seed)
    change = Estimate(found.value, baseline + step.low, baseline + step.high, found.n)
    return judged(spec, found, baseline, told=f"recall at {within}", change=change)


def found_pairs(engine: Engine, state: State, samples: Samples, *, within: int) -> F64 | None:
    """Say for every pair how many of its two searches find the partner: (n,) of 0, 0.5 and 1.

    The two are not independent, so a pair is one sample. None without such scores.
    """
    if not samples.arrays:
        return None
    scores = engine.outputs_for(state, samples.arrays).get(_SCORES)
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


CHECK = Check("retrieval", run)
