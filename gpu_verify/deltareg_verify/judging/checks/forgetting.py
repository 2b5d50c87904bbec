"""A delta forgets nothing that the base understands: perplexity, language by language and domain by domain.

One figure over all texts would hide what is forgotten: a few texts in scripts that the base never learnt
outweigh those that it knows. So only groups are held that the base itself understands, each by itself,
and the worst decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from deltareg.suites.catalogue import UNDECIDED, CheckForm
from deltareg.suites.drafting.draft import LEAST_GAIN
from deltareg.suites.samples import Samples
from deltareg.suites.suite import CheckSpec
from deltareg.words import Decision
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.changes import EngineSide, perplexity
from deltareg_verify.engine.measures.word_order import group_rows, measure_understanding
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.comparison_trial import ComparisonTrial, LookValues, against, run_looks
from deltareg_verify.judging.threshold_rule import judge_measure, missing, no_rival, rival, tell

_REST = "others"
_GRAVITY: Mapping[Decision, int] = {"missed": 0, "undecided": 1, "met": 2}


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare perplexity on each group of a probe set that the base understands."""
    other = rival(case, spec)
    if other is None:
        return no_rival(case, spec, spec.against)
    samples = case.samples(spec.probes)
    gains = measure_understanding(case.engine, samples, seed=case.suite.seed) if samples.texts else None
    if gains is None:
        return missing(spec, "needs a generative head, a tokenizer in the base, and texts of two tokens")
    groups = held_groups(group_rows(samples), gains, least=int(spec.number("least_samples")))
    if not groups:
        return Finding("n/a", detail="the base predicts none of these texts better than their words in another order")
    ours = EngineSide(case.engine, "attached")
    values = {name: samples.select_rows(rows) for name, rows in groups.items()}
    if not spec.compares:
        changes = {
            name: change for name, rows in values.items() if (change := perplexity(other, ours, rows)) is not None
        }
        worst = max(changes, key=lambda name: changes[name].change.value)
        return judge_measure(spec, changes[worst].b, changes[worst].a.value, told=_describe(worst))
    trials = {name: trial for name, rows in values.items() if (trial := _compare(case, spec, rows, other)) is not None}
    worst = min(trials, key=lambda name: (_GRAVITY[trials[name].decision], -trials[name].change.change.value))
    error = min(1.0, len(trials) * min(trial.p for trial in trials.values()))  # any of them may be missed
    other_words = case.describe_rival(spec.key_of(spec.against))
    return tell(spec, replace(trials[worst], p=error), told=_describe(worst), other=other_words)


def _compare(case: Case, spec: CheckSpec, rows: Samples, other: EngineSide) -> ComparisonTrial | None:
    threshold = spec.threshold
    assert threshold is not None, "only what has a margin is tried"
    values = LookValues(perplexity, rows, order=range(len(rows)))
    compare = against(values, other, EngineSide(case.engine, "attached"))
    return run_looks(compare, threshold, (len(rows),), family=case.suite.comparisons)


def _describe(group: str) -> str:
    return f"perplexity of {group}" if group else "perplexity"


def held_groups(
    rows: Mapping[str, Sequence[int]], gains: Mapping[str, float], *, least: int
) -> dict[str, Sequence[int]]:
    """Return the rows of each group to hold; groups of too few texts are held together.

    Args:
        rows: The rows of each group.
        gains: How much likelier a token is to the base in its place than out of order, in nats, by group.
        least: How many texts a group needs to be held by itself.
    """
    known = {name: own for name, own in rows.items() if gains.get(name, 0.0) >= LEAST_GAIN}
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
