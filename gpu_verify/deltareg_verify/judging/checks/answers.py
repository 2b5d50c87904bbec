"""How many answers are right: about images where the samples have them, after texts elsewhere.

Answers are compared without case, punctuation and articles, as SQuAD and VQA do.
"""

from functools import partial

from deltareg.suites.catalogue import UNDECIDED, CheckForm
from deltareg.suites.probe_set import Samples
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.changes import EngineSide
from deltareg_verify.engine.measures.answers import answers, without_marks
from deltareg_verify.engine.measures.normal_forms import normalise_answer
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.sample_comparison import SampleMeasure, rows_compared

_BETWEEN = "|"


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare the shares of right answers, sample by sample."""
    return rows_compared(
        case,
        spec,
        partial(_values, case, spec),
        SampleMeasure(description="right answers", needs="a network that writes, and a tokenizer in the base"),
    )


def _values(case: Case, spec: CheckSpec, side: EngineSide, samples: Samples) -> list[object] | None:
    generated = answers(side, samples, count=int(spec.number("new_tokens")), known=case.written)
    words = side.engine.vocabulary()
    if generated is None or words is None:
        return None
    begins = spec.parameters["match"] == "begins"
    pairs = without_marks(generated, samples.targets, words)
    return [float(is_right(text, target, begins=begins)) for text, target in pairs]


def is_right(text: str, target: str, *, begins: bool) -> bool:
    """Return whether an answer is right; a target may name several, with a bar between them.

    Args:
        text: The written answer.
        target: The right answer.
        begins: Whether more text may follow the right answer.
    """
    answer = normalise_answer(text)
    accepted = [form for one in target.split(_BETWEEN) if (form := normalise_answer(one))]
    return any(answer == form or (begins and f"{answer} ".startswith(f"{form} ")) for form in accepted)


CHECK = Check(
    "answers",
    run,
    CheckForm(
        "how many answers are right",
        {**UNDECIDED, "worse": "fail", "match": "whole", "new_tokens": 16},
        counts=("least_samples", "new_tokens"),
        choices={"match": ("whole", "begins")},
        probes=("targets",),
        takes_threshold=True,
        against=("base", "promoted"),
        may_not_apply=True,
    ),
)
