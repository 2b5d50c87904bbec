"""A delta forgets nothing that the base understands: perplexity, language by language and domain by domain.

One figure over all texts would hide what is forgotten: a few texts in scripts that the base never learnt
outweigh those that it knows. So only groups are held that the base itself understands, each by itself,
and the worst decides.
"""

from collections.abc import Mapping, Sequence

from deltareg.suites.catalogue import UNDECIDED, CheckForm
from deltareg.suites.samples import Samples
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.changes import perplexity
from deltareg_verify.engine.measures.word_order import find_understood
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.comparison_trial import LookValues
from deltareg_verify.judging.threshold_rule import compare_with_rivals, gravest, report_unmeasured

_NEEDS = "a generative head, a tokenizer in the base, and texts of two tokens"
_REST = "others"


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare perplexity on each group of a probe set that the base understands."""
    samples = case.samples(spec.probes)
    known = find_understood(case.engine, samples, seed=case.suite.seed) if samples.texts else None
    if known is None:
        return report_unmeasured(case, spec, f"needs {_NEEDS}")
    groups = held_groups(known, least=int(spec.number("least_samples")))
    if not groups:
        return Finding("n/a", detail="the base predicts none of these texts better than their words in another order")
    return gravest([_hold(case, spec, name, samples.select_rows(rows)) for name, rows in groups.items()])


def _hold(case: Case, spec: CheckSpec, group: str, samples: Samples) -> Finding:
    values = LookValues(perplexity, samples, order=range(len(samples)), seed=case.suite.seed)
    told = f"perplexity of {group}" if group else "perplexity"
    return compare_with_rivals(case, spec, values.change, planned=(len(samples),), told=told, needs=_NEEDS)


def held_groups(known: Mapping[str, Sequence[int]], *, least: int) -> dict[str, Sequence[int]]:
    """Return the rows of each group to hold; groups of too few texts are held together.

    Args:
        known: The rows of each group that the base understands.
        least: How many texts a group needs to be held by itself.
    """
    large = {name: own for name, own in known.items() if len(own) >= least}
    rest = sorted(row for name, own in known.items() if name not in large for row in own)
    return large | ({_REST: rest} if len(rest) >= least else {})


CHECK = Check(
    "forgetting",
    run,
    CheckForm(
        "no language or domain that the base understands is forgotten",
        {**UNDECIDED, "least_samples": 8, "worse": "fail"},
        counts=("least_samples",),
        probes=("text",),
        takes_threshold=True,
        against=("base", "promoted"),
        may_not_apply=True,
    ),
)
