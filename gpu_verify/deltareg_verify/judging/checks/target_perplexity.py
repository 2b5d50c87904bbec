"""How likely the right text is for each sample: a translation, a transcript, an answer."""

from deltareg.suites.catalogue import UNDECIDED, CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.measures.targets import target_likelihoods
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.sample_comparison import SampleMeasure, rows_compared


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare the perplexity of targets, sample by sample."""
    return rows_compared(
        case,
        spec,
        target_likelihoods,
        SampleMeasure(
            description="perplexity of the targets",
            by="weighted_perplexity",
            needs="an encoder-decoder, or a network that goes on with text, and a tokenizer",
        ),
    )


CHECK = Check(
    "target_perplexity",
    run,
    CheckForm(
        "how likely the right text is for each sample",
        {**UNDECIDED, "worse": "fail"},
        counts=("least_samples",),
        probes=("targets",),
        takes_threshold=True,
        against=("base", "promoted"),
        may_not_apply=True,
    ),
)
