"""How likely texts are with the delta: per token, beside the base or the version now promoted."""

from deltareg.suites.catalogue import UNDECIDED, CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.changes import perplexity
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.threshold_rule import compare_measure


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare perplexity on a probe set, text by text."""
    needs = "a generative head, a tokenizer in the base, and texts of two tokens"
    return compare_measure(case, spec, perplexity, told="perplexity", needs=needs)


CHECK = Check(
    "perplexity",
    run,
    CheckForm(
        "how likely texts are",
        {**UNDECIDED, "worse": "fail"},
        counts=("least_samples",),
        probes=("text",),
        takes_threshold=True,
        against=("base", "promoted"),
        may_not_apply=True,
        takes_looks=True,
    ),
)
