"""The delta attached to the running base and the delta folded into it give the same outputs."""

from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.arrays import largest_difference, root_mean_square
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.dtypes import TOLERANCES
from deltareg_verify.judging.check import Check, Finding


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare the two states on the probe, relative to the size of the base's outputs."""
    engine = case.engine
    if not engine.is_foldable:
        return Finding("n/a", detail="the delta acts on activations and can only be attached")
    overflowed = engine.find_overflowed()
    if overflowed:
        detail = f"not finite once rounded to {engine.dtype}: {', '.join(overflowed[:3])}"
        return Finding("fail", len(overflowed), 0, code="overflow_after_cast", detail=detail)
    tolerance = spec.number(TOLERANCES[engine.dtype])
    attached, folded = case.outputs("attached"), case.outputs("folded")
    scale = max(1.0, root_mean_square(case.outputs("base")))
    difference = largest_difference(attached, folded) / scale
    if difference <= tolerance:
        return Finding("pass", difference, tolerance, detail=f"in {engine.dtype}")
    # A NaN comes here too: it is not within any tolerance.
    return Finding("fail", difference, tolerance, code="attached_differs", detail=f"in {engine.dtype}")


CHECK = Check(
    "attached_equals_folded",
    run,
    CheckForm(
        "attached and folded, it gives the same",
        {"f32": "0.0001", "bf16": "0.2", "f16": "0.05"},
        may_not_apply=True,
        fix="look for tied weights or dropout in it, or fold it in float32",
    ),
)
