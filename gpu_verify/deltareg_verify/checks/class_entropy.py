"""A classifier still tells inputs apart: it does not say one thing of everything.

A head that was trained on one class, or whose learning rate was too high, gives every input the
same answer. What it says of the base's general probes is then almost the same for each of them.
"""

from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.case import Case
from deltareg_verify.check import Check, Finding
from deltareg_verify.figures import Classes


def run(case: Case, spec: CheckSpec) -> Finding:
    """Hold what is said of different inputs against one another, and beside the base's."""
    before, after = case.figures("base").classes, case.figures("attached").classes
    if after is None:
        why = case.figures("base").refusal or "it names no classes"
        return Finding("n/a", detail=f"the network has no class entropy: {why}")
    if before is not None and before.count != after.count:
        before = None  # another head
    least = spec.number("least_variation")
    baseline = None if before is None else before.said
    told = (
        f"over {after.count} classes, entropy {after.said:.3g} of all inputs together and"
        f" {after.sure:.3g} of each; scores vary by {after.variation:.3g} of their size"
    )
    if before is not None:
        told += f"; the base's by {before.variation:.3g}"
    if _is_told_by_base(before, least) and not after.variation >= least:
        detail = f"{told}: it says the same of every input"
        return Finding("fail", after.variation, least, baseline, code="collapsed", detail=detail)
    return Finding("pass", after.said, None, baseline, detail=told)


def _is_told_by_base(before: Classes | None, least: float) -> bool:
    """Whether the probes tell anything: a base may say the same of all of them, too."""
    return before is None or before.variation >= 2 * least


CHECK = Check(
    "class_entropy",
    run,
    CheckForm(
        "a classifier says different things of different inputs",
        {"least_variation": "0.05"},
        may_not_apply=True,
    ),
)
