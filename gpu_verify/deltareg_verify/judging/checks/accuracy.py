"""How many samples of a labelled probe set get their label: texts, images, whatever has a class."""

from deltareg.suites.catalogue import UNDECIDED, CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.changes import accuracy
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.threshold_rule import compare_measure


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare the shares of right answers, sample by sample."""
    needs = "a head that gives one score a class for each sample"
    return compare_measure(case, spec, accuracy, told="accuracy", needs=needs)


CHECK = Check(
    "accuracy",
    run,
    CheckForm(
        "how many samples get their label",
        {**UNDECIDED, "worse": "fail"},
        counts=("least_samples",),
        probes=("labelled",),
        takes_threshold=True,
        against=("base", "promoted"),
        may_not_apply=True,
        takes_looks=True,
    ),
)
