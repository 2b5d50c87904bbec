"""How close what a network writes is to the right text: translations, summaries, captions.

chrF and TER are those of sacrebleu, sentence by sentence; ROUGE is that of rouge-score, its F1.
"""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

from deltareg.suites.catalogue import UNDECIDED, CheckForm
from deltareg.suites.probe_set import Samples
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.changes import EngineSide
from deltareg_verify.engine.measures.answers import answers, without_marks
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.sample_comparison import SampleMeasure, rows_compared
from deltareg_verify.judging.text_scores import LIBRARIES, SCORES


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare how close the texts of both come, sample by sample."""
    which = str(spec.parameters["measure"])
    library = LIBRARIES[which]
    if find_spec(library) is None:
        reason = f"this worker has no {library}; pip install 'deltareg[texts]' there"
        return Finding("skipped", detail=reason)
    return rows_compared(
        case,
        spec,
        partial(_values, case, spec, SCORES[which]),
        SampleMeasure(description=which, needs="a network that writes, and a tokenizer in the base"),
    )


def _values(
    case: Case, spec: CheckSpec, score: Callable[[str, str], float], side: EngineSide, samples: Samples
) -> list[object] | None:
    generated = answers(side, samples, count=int(spec.number("new_tokens")), known=case.written)
    words = side.engine.vocabulary()
    if generated is None or words is None:
        return None
    return [score(text, target) for text, target in without_marks(generated, samples.targets, words)]


CHECK = Check(
    "written_text",
    run,
    CheckForm(
        "how close what it writes is to the right text",
        {**UNDECIDED, "worse": "fail", "measure": "chrf", "new_tokens": 64},
        counts=("least_samples", "new_tokens"),
        choices={"measure": tuple(SCORES)},
        probes=("targets",),
        takes_threshold=True,
        against=("base", "promoted"),
        may_not_apply=True,
    ),
)
