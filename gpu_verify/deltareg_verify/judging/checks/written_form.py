"""How much what a network writes is like the right text in length and in what it repeats.

A version that goes on and on, stops after a word or says the same again can find the right text as
likely as before. Both are counted in tokens of the base, up to the number that is written.
"""

from functools import partial

from deltareg.suites.catalogue import UNDECIDED, CheckForm
from deltareg.suites.probe_set import Samples
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.changes import EngineSide
from deltareg_verify.engine.measures.answers import answers, cut_to_answer
from deltareg_verify.engine.measures.writing import LIKENESS
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.sample_comparison import SampleMeasure, rows_compared


def run(case: Case, spec: CheckSpec) -> Finding:
    """Have both write to every sample, and compare with the right texts."""
    words, _ = LIKENESS[str(spec.parameters["measure"])]
    return rows_compared(
        case,
        spec,
        partial(_values, case, spec),
        SampleMeasure(description=words, needs="a network that writes, and a tokenizer in the base"),
    )


def _values(case: Case, spec: CheckSpec, side: EngineSide, samples: Samples) -> list[object] | None:
    count = int(spec.number("new_tokens"))
    most = int(spec.number("most")) or len(samples)
    few = samples if most >= len(samples) else samples.select_rows(range(most))
    generated = answers(side, few, count=count, known=case.written)
    words = side.engine.vocabulary()
    if generated is None or words is None:
        return None
    _, alike = LIKENESS[str(spec.parameters["measure"])]
    pairs = (cut_to_answer(one, target, words) for one, target in zip(generated, few.targets, strict=True))
    return [alike(written, right[:count]) for written, right in pairs]


CHECK = Check(
    "written_form",
    run,
    CheckForm(
        "how like the right text what it writes is in length and repetition",
        {**UNDECIDED, "worse": "fail", "measure": "both", "new_tokens": 48, "most": 0},
        counts=("least_samples", "new_tokens", "most"),
        choices={"measure": tuple(LIKENESS)},
        probes=("targets",),
        takes_threshold=True,
        against=("base", "promoted"),
        may_not_apply=True,
    ),
)
