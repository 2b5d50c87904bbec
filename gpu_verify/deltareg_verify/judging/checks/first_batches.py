"""What the network saw in the first batches of its training fits the base.

A training that learns the wrong thing looks fine by its own numbers, and `golden` reproduces its
outputs. Labels that are shifted twice, an end without a label or padding with one, ids of another
tokenizer show in the process that trained: it counts what goes into the network and how well the
base does on it (`deltareg.golden.FirstBatches`).
"""

from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.judging.check import Check, Finding

_CODE = "odd_batches"


def run(case: Case, _spec: CheckSpec) -> Finding:
    """Judge the recorded counts; no network runs."""
    if case.golden is None:
        return Finding("n/a", detail="the version was pushed without golden outputs")
    start = case.golden.training
    if start is None:
        return Finding("n/a", detail="the process that trained did not look at its batches")
    odd = len(start.oddities)
    if odd:
        return Finding("fail", odd, 0, code=_CODE, detail=start.summary)
    return Finding("pass", odd, 0, detail=start.summary)


CHECK = Check(
    "first_batches",
    run,
    CheckForm(
        "the first batches of its training fit the base",
        may_not_apply=True,
        fix="read the first lines of the training's log: labels, padding, tokenizer",
    ),
    is_static=True,
)
