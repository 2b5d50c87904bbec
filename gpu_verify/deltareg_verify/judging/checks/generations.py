"""Properties of the texts that a version writes, beside those of the base or promoted version.

No right answer is needed: a version that suddenly writes twice as much, repeats itself, never ends,
no longer gives JSON or refuses what it used to answer shows in how these are spread over prompts.
"""

from functools import partial

from deltareg.suites.catalogue import UNDECIDED, CheckForm
from deltareg.suites.probe_set import Samples
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.changes import EngineSide
from deltareg_verify.engine.measures.answers import answers
from deltareg_verify.engine.measures.writing import MEASURES, distance, quartiles
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.sample_comparison import SampleMeasure, mean, rows_compared

_BETWEEN = "length_distance"
_LENGTHS = frozenset({"length", _BETWEEN})


def run(case: Case, spec: CheckSpec) -> Finding:
    """Have both write for every prompt, and compare."""
    which = str(spec.parameters["measure"])
    words, _ = MEASURES[which]
    is_between = which == _BETWEEN
    return rows_compared(
        case,
        spec,
        partial(_values, case, spec),
        SampleMeasure(
            description=words,
            needs="a network that writes, and a tokenizer in the base",
            by=which if is_between else "mean",
            aggregate=distance if is_between else mean,
            also=quartiles if which in _LENGTHS else None,
            is_between=is_between,
        ),
    )


def _values(case: Case, spec: CheckSpec, side: EngineSide, samples: Samples) -> list[object] | None:
    _, value = MEASURES[str(spec.parameters["measure"])]
    generated = answers(side, samples, count=int(spec.number("new_tokens")), known=case.written)
    return None if generated is None else [value(one) for one in generated]


CHECK = Check(
    "generations",
    run,
    CheckForm(
        "what the texts are like that it writes",
        {**UNDECIDED, "worse": "fail", "measure": None, "new_tokens": 64},
        counts=("least_samples", "new_tokens"),
        choices={"measure": tuple(MEASURES)},
        probes=("inputs",),
        takes_threshold=True,
        against=("base", "promoted"),
        may_not_apply=True,
    ),
)
