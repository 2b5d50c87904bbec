"""docs/planted-first.md: how the set is made, what catches what, where thresholds come from."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set

from tests.planted.broken import EDITED, TRAINED
from tests.planted.deltas import DEFECTS
from tests.planted.gate import Seen, caught_by
from tests.planted.rules import KEPT, RULES, Rule
from tests.planted.suites import NORM_CAP
from tests.verify.bench import SMOKE

_HEAD = """\
# The first planted set

Written by `python -m tests.planted.measure`; do not edit by hand.

A gate is worth what it stops. Here {bases} small networks are trained for some seconds each: a
causal language model of Llama's form, one of GPT-2's, a text classifier of BERT's and an image
classifier of ViT's. {healthy} healthy deltas are tuned for another domain and saved by the
libraries that people use, or as those lay them out; {broken} more are broken as deltas are broken
in real life. All of it follows from seeds (`tests/planted`). There are {kinds} kinds:
{names}.

What judges them is what judges a version at work: push, then the worker's checks, by a suite that
is read from its YAML file with its probe sets beside it (`python -m tests.planted.suites FOLDER`
writes them). The suite asks all that `smoke` requires, with `norm_ratio` at {cap} in place of
{smoke:g}: networks as small as these are tuned at high rates, and set the scale. With `smoke` as it
is, {loose} more of the broken ones would pass without samples and golden outputs. It also has
samples that no training has seen, of the domain that a delta is for and of the base's own;
`perplexity` judges them where a base continues text, `accuracy` where it names a class:

- `in_domain` and `general` compare with the base: the delta must be better at what it is for, and
  may lose only so much elsewhere. A measure that falls short of the mark fails.
- `in_domain_kept` and `general_kept` compare with the version that the line has promoted, a healthy
  one of the same recipe and another seed, on the same samples (`against: promoted`). They fail
  where even the better end of the 95 % interval falls short.

Everything comes twice, with other seeds, ranks, learning rates and lengths: thresholds were set on
the *tuning* half, and what follows is about the other, the *held-out* half. It was not unseen to
the end: the first marks of the two `_kept` checks failed 2 healthy deltas of it, and were then set
wider, by figures of the tuning half alone. A check that could not run counts as one that stops a
delta, the healthy ones, too.

## What passes

| gate | broken that pass | healthy that fail |
|---|---:|---:|
"""
MUTATIONS = "## Mutations: what is left for a probe set"
"""Under this the page has what `tests.planted.mutated` writes."""
_SMOKE = frozenset(spec.name for spec in SMOKE.checks) - {"golden"}
_BESIDE_BASE = frozenset({"in_domain", "general"})
_GOLDEN = frozenset({"golden"})
_GIVEN = _GOLDEN | _BESIDE_BASE | KEPT
_ORIGIN = """\
Worst healthy and best broken of the tuning half, among the broken ones that no other check stops;
golden outputs are left aside, and for a comparison with the base those with the promoted version.
Perplexity: its fall as a share; accuracy: by how much it rises. Where no broken one is
left, about twice of what the worst healthy one loses is allowed. Beside the promoted version a
measure may fall short of what is asked by as much as its interval is wide on that side; but the
interval tells of the samples alone, and two healthy trainings differ by more than that.
"""
# A gate and the checks that it does without.
_GATES: tuple[tuple[str, Set[str]], ...] = (
    ("push alone", _SMOKE | _GIVEN),
    ("push and `smoke`, nothing from the publisher", _GIVEN),
    ("the same with samples of both domains, beside the base", _GOLDEN | KEPT),
    ("the same samples, beside the promoted version instead", _GOLDEN | _BESIDE_BASE),
    ("the same samples, beside both", _GOLDEN),
    ("golden outputs instead of samples", _BESIDE_BASE | KEPT),
    ("all of it, for a line that has promoted nothing yet", KEPT),
    ("all of it", frozenset()),
)
_COLUMNS = (
    "push",
    *(spec.name for spec in SMOKE.checks if spec.name in _SMOKE),
    "in_domain",
    "general",
    "in_domain_kept",
    "general_kept",
    "golden",
)


def page(found: Sequence[Seen]) -> str:
    """Write the page from what was seen of the whole set."""
    held_out = [seen for seen in found if seen.planted.half == "held-out"]
    healthy = [seen for seen in found if not seen.planted.defect]
    kinds = sorted({seen.planted.order.recipe.kind for seen in healthy})
    bases = {seen.planted.order.recipe.base for seen in found}
    head = _HEAD.format(
        bases={4: "four", 3: "three"}.get(len(bases), len(bases)),
        healthy=len(healthy),
        kinds=len(kinds),
        names=", ".join(kinds),
        broken=len(found) - len(healthy),
        cap=NORM_CAP,
        smoke=_smoke_cap(),
        loose=sum(_is_stopped_by_the_cap(seen) for seen in held_out),
    )
    parts = [
        head + "\n".join(_gate_rows(held_out)),
        "## Which check catches what\n\nHow many of each defect, on the half that no threshold has"
        " seen. Here every check runs; at work the first\nstatic failure stops the others.\n\n" + _catches(held_out),
        "## Caught by one check only\n\n" + _lone(held_out),
        "## Where the thresholds come from\n\n" + _thresholds(found),
        "## The defects\n\n" + _defects(),
    ]
    return "\n\n".join(parts) + "\n"


def _smoke_cap() -> float:
    return next(s.number("fail_above") for s in SMOKE.checks if s.name == "norm_ratio")


def _is_stopped_by_the_cap(seen: Seen) -> bool:
    """Whether nothing but the lower cap stops a delta that comes without samples or outputs."""
    alone = set(caught_by(seen)) - _GIVEN == {"norm_ratio"}
    value = seen.results["norm_ratio"].value if alone else None
    return isinstance(value, float) and value <= _smoke_cap()


def _gate_rows(found: Sequence[Seen]) -> Iterable[str]:
    for name, without in _GATES:
        passed = [seen for seen in found if not set(caught_by(seen)) - without]
        broken = sum(bool(seen.planted.defect) for seen in found)
        let, good = sum(bool(seen.planted.defect) for seen in passed), len(found) - broken
        kept = good - (len(passed) - let)
        yield f"| {name} | {let} of {broken} | {kept} of {good} |"


def _catches(found: Sequence[Seen]) -> str:
    catching = {name for seen in found for name in caught_by(seen)}
    columns = [name for name in _COLUMNS if name in catching]
    lines = [_row("defect", "of", *(f"`{name}`" for name in columns)), _rule(len(columns) + 2)]
    for defect in (*DEFECTS, ""):
        of = [seen for seen in found if seen.planted.defect == defect]
        counts = Counter(name for seen in of for name in caught_by(seen))
        cells = [str(counts[name] or "") for name in columns]
        lines.append(_row(defect.replace("_", " ") or "*healthy*", str(len(of)), *cells))
    return "\n".join(lines)


def _lone(found: Sequence[Seen]) -> str:
    lone: dict[str, list[str]] = {}
    for seen in found:
        names = [name for name in caught_by(seen) if name != "push"]
        if seen.planted.defect and len(names) == 1:
            lone.setdefault(names[0], []).append(seen.planted.id)
    lines = [f"- `{name}`: {', '.join(f'`{i}`' for i in ids)}" for name, ids in sorted(lone.items())]
    return "\n".join(lines)


def _thresholds(found: Sequence[Seen]) -> str:
    lines = [_ORIGIN, _row("check", "asked", "worst healthy", "best broken", "worst healthy held out"), _rule(5)]
    tuning = [seen for seen in found if seen.planted.half == "tuning" and not seen.refusal]
    others = [seen for seen in found if seen.planted.half == "held-out" and not seen.refusal]
    for rule in RULES:
        healthy = _least(rule, (s for s in tuning if not s.planted.defect), min)
        left = (s for s in tuning if s.planted.defect and _needs(rule, s))
        outside = _least(rule, (s for s in others if not s.planted.defect), min)
        sort = "perplexity" if rule.is_language else "accuracy"
        what = f"`{rule.name}`, {sort}"
        lines.append(_row(what, f"{rule.change:+g}", healthy, _least(rule, left, max), outside))
    return "\n".join(lines)


def _needs(rule: Rule, seen: Seen) -> bool:
    others = _GOLDEN | (KEPT if rule.against == "base" else frozenset())
    return set(caught_by(seen)) - others == {rule.name}


def _least(rule: Rule, found: Iterable[Seen], pick: Callable[[list[float]], float]) -> str:
    changes = [
        rule.found(seen.results.get(rule.name))
        for seen in found
        if seen.planted.order.recipe.subject.is_language == rule.is_language
    ]
    values = [change for change in changes if change is not None]
    return f"{pick(values):+.3f}" if values else "none"


def _defects() -> str:
    told = {name: one.__doc__ or "" for name, one in {**EDITED, **TRAINED}.items()}
    return "\n".join(f"- **{n.replace('_', ' ')}**: {text.strip()}" for n, text in told.items())


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(count: int) -> str:
    return f"|---|{'---:|' * (count - 1)}"
