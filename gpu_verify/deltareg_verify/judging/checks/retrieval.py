"""How many texts find their image among all, and images their text: recall of a two-tower network.

The probe set holds pairs: row i of `pixel_values` belongs to row i of `input_ids`.
"""

from functools import partial

from deltareg.suites.catalogue import UNDECIDED, CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.changes import retrieval
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.threshold_rule import compare_measure


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare recall in both directions, pair by pair."""
    within = int(spec.number("within"))
    return compare_measure(
        case,
        spec,
        partial(retrieval, within=within),
        told=f"recall at {within}",
        needs="a network that scores texts and images in pairs",
    )


CHECK = Check(
    "retrieval",
    run,
    CheckForm(
        "how many texts find their image, and images their text",
        {**UNDECIDED, "worse": "fail", "within": 1},
        counts=("least_samples", "within"),
        probes=("pairs",),
        takes_threshold=True,
        against=("base", "promoted"),
        may_not_apply=True,
    ),
)
