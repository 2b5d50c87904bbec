"""The training that made the delta came to its end, or its evaluation stopped it.

The job's time was over, the machine was taken away: the last checkpoint is there, and it is pushed.
Its loss fell as it should, and `golden` reproduces its outputs. So the process that trains records
with each checkpoint how far it has come (`deltareg.suites.training_progress`).

A rate above the one that a schedule began from is no end either: a schedule was restarted, or broken
off at its height, and the last steps undo what the first ones learnt.

Checkpoints of a training that goes on fail, too, until half of it is done. So this stops no other
check: whoever follows a training sees all of them.
"""

from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.judging.check import Check, Finding

_CODE = "unfinished"


def run(case: Case, spec: CheckSpec) -> Finding:
    """Judge how far the training had come; no network runs."""
    if case.golden is None:
        return Finding("n/a", detail="the version was pushed without golden outputs")
    progress = case.golden.progress
    if progress is None or progress.planned <= 0:
        return Finding("n/a", detail="the process that trained did not say how far it came")
    least, most = spec.number("least_share"), spec.number("most_rate_left")
    if progress.is_unfinished(least_share=least, most_rate_left=most):
        return Finding("fail", progress.share, least, code=_CODE, detail=progress.description)
    raised = spec.number("most_rate")
    if progress.is_raised(most_rate_left=raised):
        return Finding("fail", progress.rate_left, raised, code=_CODE, detail=f"{progress.description}, and still high")
    return Finding("pass", progress.share, least, detail=progress.description)


CHECK = Check(
    "whole_training",
    run,
    CheckForm(
        "its training was done",
        {"least_share": "0.5", "most_rate_left": "0.5", "most_rate": "1.05"},
        may_not_apply=True,
        fix="let the training end: trainer.train(resume_from_checkpoint=True)",
    ),
)
