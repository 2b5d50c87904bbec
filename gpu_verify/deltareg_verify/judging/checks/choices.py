"""How probable the right answer is among those of other samples; nothing is generated.

For answers of a few words. What a version lost shows here on far fewer samples than in shares of
right answers, and far sooner than in perplexity per token, most of which is the form of an answer.
"""

from deltareg.suites.catalogue import UNDECIDED, CheckForm
from deltareg.suites.drafting.answer_forms import OTHERS
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.measures.choices import ALONE, MEASURES, choice_measure
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.threshold_rule import compare_measure


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare how probable the right answers are, sample by sample."""
    which, others = str(spec.parameters["measure"]), int(spec.number("others"))
    samples = case.samples(spec.probes)
    if which != ALONE and len(set(samples.targets)) < 2:
        return Finding("skipped", detail="all samples have the same answer, or none: there is nothing to choose from")
    words, _ = MEASURES[which]
    return compare_measure(
        case,
        spec,
        choice_measure(which, others=others, seed=case.suite.seed),
        told=words,
        needs="an encoder-decoder, or a network that goes on with text, and a tokenizer",
    )


CHECK = Check(
    "choices",
    run,
    CheckForm(
        "how probable the right answer is among those of other samples",
        {**UNDECIDED, "worse": "fail", "measure": "probability", "others": OTHERS},
        counts=("least_samples", "others"),
        choices={"measure": tuple(MEASURES)},
        probes=("targets",),
        takes_threshold=True,
        against=("base", "promoted"),
        may_not_apply=True,
    ),
)
