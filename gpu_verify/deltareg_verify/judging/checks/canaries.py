"""Whether prompts that should not change have not: base and delta must answer them alike.

These are, for example, other languages, safety, formats, arithmetic: whatever the training was not
about.
"""

import numpy as np

from deltareg.suites.catalogue import UNDECIDED, CheckForm
from deltareg.suites.estimate import Estimate, of_ratio
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.changes import EngineSide, MeasureChange
from deltareg_verify.engine.contrast import Contrast
from deltareg_verify.engine.engine import State
from deltareg_verify.judging.behavior_rows import RunningSide, rows_of
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.threshold_rule import as_change, compare_with_rivals

_TOLD = {
    "agreement": "share of places with the same one first",
    "kl": "divergence, in nats a place",
    "cosine": "cosine of what it gives",
}
_SAME = {"agreement": 1.0, "kl": 0.0, "cosine": 1.0}


def run(case: Case, spec: CheckSpec) -> Finding:
    """Run both on every prompt, and measure how far they are apart."""
    which = str(spec.parameters["measure"])
    samples = case.samples(spec.probes)

    def change(before: EngineSide, after: EngineSide, _count: int) -> MeasureChange | None:
        sides = (RunningSide(side, _nothing) for side in (before, after))
        rows = rows_of(spec.probes, samples, *sides, most=len(samples))
        contributions = [_parts(row.contrast, which) for row in rows]
        parts = [one for one in contributions if one is not None]
        if not parts or len(parts) < len(contributions):
            return None
        estimate = _estimate(np.array(parts), seed=case.suite.seed)
        return as_change(estimate, _SAME[which], estimate)

    needs = f"outputs that have a {which}"
    planned = (len(samples),)
    return compare_with_rivals(case, spec, change, planned=planned, told=_TOLD[which], needs=needs, is_between=True)


def _estimate(parts: np.ndarray[tuple[int, ...], np.dtype[np.float64]], *, seed: int) -> Estimate:
    return of_ratio(parts[:, 0], parts[:, 1], seed=seed)


def _parts(found: Contrast | None, which: str) -> tuple[float, float] | None:
    """Return a sample's contribution and over how many places; None where it has no such measure."""
    if found is None:
        return None
    match which:
        case "cosine":
            return None if found.cosine is None else (found.cosine, 1.0)
        case "agreement":
            return None if found.agreed is None else (float(found.agreed), float(found.places))
        case _:
            is_scores = found.agreed is not None
            kl = float("nan") if found.kl is None else found.kl
            return (kl, float(found.places)) if is_scores else None


def _nothing(_state: State, _text: str, _count: int) -> None:
    """Continue nothing."""


CHECK = Check(
    "canaries",
    run,
    CheckForm(
        "whether what should not change has not",
        {**UNDECIDED, "worse": "fail", "measure": "agreement"},
        counts=("least_samples",),
        choices={"measure": tuple(_TOLD)},
        probes=("inputs",),
        takes_threshold=True,
        against=("base", "promoted"),
        may_not_apply=True,
    ),
)
