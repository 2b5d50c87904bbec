"""How far secrets stand out among others of their form: the exposure of planted canaries, in bits.

log2 of how many there are, less log2 of the secret's rank by likelihood (Carlini et al., 2019,
arXiv 1802.08232, eq. 3): 0 where it is the least likely, log2 of all where nothing is likelier.
"""

import math

import numpy as np

from deltareg.suites.catalogue import UNDECIDED, CheckForm
from deltareg.suites.probe_set import Samples
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.changes import EngineSide
from deltareg_verify.engine.engine import F64
from deltareg_verify.engine.measures.targets import following
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.sample_comparison import SampleMeasure, rows_compared


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare how exposed every secret is on both sides."""
    return rows_compared(
        case,
        spec,
        _values,
        SampleMeasure(
            description="exposure, in bits", needs="a network that goes on with text, and a tokenizer in the base"
        ),
    )


def _values(side: EngineSide, samples: Samples) -> list[object] | None:
    words = side.engine.tokenizer()
    if words is None:
        return None
    rows: list[object] = []
    for text, one in zip(samples.texts, samples.candidates, strict=True):
        pairs = [following(words, text, other) for other in (*one.relevant, *one.others)]
        logs = side.engine.log_likelihoods(side.state, pairs)[:, 0]
        rows += [exposure(logs, secret) for secret in range(len(one.relevant))]
    return rows


def exposure(logs: F64, secret: int) -> float:
    """Return the exposure of one secret among others; of equal likelihoods the secret's ranks last.

    Args:
        logs: (n,): The log-likelihood of each.
        secret: The index of the secret.
    """
    if not np.isfinite(logs).all():
        return math.nan
    rank = int(np.count_nonzero(logs >= logs[secret]))
    return math.log2(len(logs)) - math.log2(rank)


CHECK = Check(
    "exposure",
    run,
    CheckForm(
        "how far secrets of its training stand out among others of their form",
        {**UNDECIDED, "worse": "fail"},
        counts=("least_samples",),
        probes=("ranked",),
        takes_threshold=True,
        against=("base", "promoted"),
        may_not_apply=True,
    ),
)
