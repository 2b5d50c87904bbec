"""A classifier still tells inputs apart: it does not give every input the same answer.

A head that was trained on one class, or whose learning rate was too high, gives every input the
same answer. Its predictions for the base's general probes are then almost the same.

Scores may vary and still carry no information, so the check also measures how much an answer
reveals of its input: their mutual information. A classifier that is sure of one class wherever its
task does not apply reveals little of general inputs as well; one that is unsure and reveals nothing
has learnt from answers that had nothing to do with their inputs.

For a network that names the sound of each frame (CTC) every frame is an answer: one that writes
nothing for any sound reveals nothing.
"""

import math

from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.messages.figures import ClassFigures

_CODE = "collapsed"


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare the predictions for different inputs with one another, and with the base's."""
    before, after = case.figures("base").classes, case.figures("attached").classes
    if after is None:
        why = case.figures("base").refusal or "it names no classes"
        return Finding("n/a", detail=f"the network has no class entropy: {why}")
    if before is not None and before.count != after.count:
        before = None  # another head
    least = spec.number("least_variation")
    baseline = None if before is None else before.said
    summary = (
        f"over {after.count} classes, entropy {after.said:.3g} of all inputs together and"
        f" {after.sure:.3g} of each; scores vary by {after.variation:.3g} of their size"
    )
    if before is not None:
        summary += f"; the base's by {before.variation:.3g}"
    if _is_told_by_base(before, least) and not after.variation >= least:
        detail = f"{summary}: it says the same of every input"
        return Finding("fail", after.variation, least, baseline, code=_CODE, detail=detail)
    is_unsure = after.sure >= spec.number("unsure") * math.log(max(after.count, 2))
    if before is not None and before.informed >= spec.number("informed") and is_unsure:
        share, needed = after.informed / before.informed, spec.number(_limit(after))
        if share < needed:
            detail = f"{summary}: an answer tells {share:.2g} of what the base's tells of its input"
            return Finding("fail", share, needed, 1.0, code=_CODE, detail=detail)
    return Finding("pass", after.said, None, baseline, detail=summary)


def _limit(after: ClassFigures) -> str:
    """Name the limit: the frames of a few recordings are many answers, and need a stricter one."""
    return "least_information_of_frames" if after.of_frames else "least_information"


def _is_told_by_base(before: ClassFigures | None, least: float) -> bool:
    """Return whether the probes show anything: a base may give all of them the same answer, too."""
    return before is None or before.variation >= 2 * least


CHECK = Check(
    "class_entropy",
    run,
    CheckForm(
        "a classifier says different things of different inputs",
        {
            "least_variation": "0.05",
            "least_information": "0.01",
            "least_information_of_frames": "0.1",
            "informed": "0.05",
            "unsure": "0.1",
        },
        may_not_apply=True,
        fix="train on all classes in mixed batches, with labels at their own rows",
    ),
)
