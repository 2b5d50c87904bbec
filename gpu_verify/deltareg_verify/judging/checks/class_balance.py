"""How evenly a classifier is right: every class counts alike, however many samples it has."""

from collections.abc import Sequence

from deltareg.suites.catalogue import UNDECIDED, CheckForm
from deltareg.suites.probe_set import Samples
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.changes import EngineSide
from deltareg_verify.engine.measures.classes import MEASURES, predictions, recalls, rows_of
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.sample_comparison import SampleMeasure, rows_compared

_TOLD = {
    "balanced_accuracy": "balanced accuracy",
    "worst_recall": "recall of the worst class",
    "evenness": "entropy of the answers beside that of the labels",
}
_SHOWN = 8


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare the predictions of both for each sample, class by class."""
    which = str(spec.parameters["measure"])
    return rows_compared(
        case,
        spec,
        _pairs,
        SampleMeasure(
            description=_TOLD[which],
            needs="a head that gives one score a class for each sample",
            by=which,
            aggregate=MEASURES[which],
            also=_by_class,
        ),
    )


def _pairs(side: EngineSide, samples: Samples) -> list[object] | None:
    predicted = predictions(side, samples)
    if predicted is None or samples.labels is None:
        return None
    return rows_of(samples.labels, predicted)


def _by_class(rows: Sequence[object]) -> str:
    by_recall = sorted(recalls(rows).items(), key=lambda one: one[1])
    text = ", ".join(f"{name}: {value:.2f}" for name, value in by_recall[:_SHOWN])
    rest = len(by_recall) - _SHOWN
    return f"recall by class, {text}" + (f" and {rest} better ones" if rest > 0 else "")


CHECK = Check(
    "class_balance",
    run,
    CheckForm(
        "how evenly it is right over classes, however rare",
        {**UNDECIDED, "worse": "fail", "measure": "balanced_accuracy"},
        counts=("least_samples",),
        choices={"measure": tuple(MEASURES)},
        probes=("labelled",),
        takes_threshold=True,
        against=("base", "promoted"),
        may_not_apply=True,
    ),
)
