"""Make all fresh deltas and say what became of them: `python -m tests.fresh.report [--write]`.

`--write` writes docs/fresh.md. Another `--seed` makes other deltas.
"""

import argparse
import tempfile
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tests.fresh.bases import BASES
from tests.fresh.outcomes import TOLERANCE, Outcome
from tests.fresh.plan import RECIPES, SEED, outcomes_on
from tests.fresh.rules import MAY_REFUSE, complaint
from tests.fresh.third_set import HEADING

PAGE = Path(__file__).parents[2] / "docs" / "fresh.md"
MADE = ("right", "refused", "told", "doubted", "wrong")
_HEAD = """\
# Fresh deltas: exact or refused

Written by `python -m tests.fresh.report --write`; do not edit by hand.

A delta that is served otherwise than its library serves it is worse than one that is refused. So
deltas are made here that are in no corpus: {bases} small random networks of {architectures}
architectures (text, images, sounds, several media; experts, state spaces, encoders with decoders),
on each of which peft {peft} or transformers {transformers} trains, saves and loads by itself, in
{recipes} ways (`tests/fresh`): every sort of tie, heads and embeddings adapted or saved, configs
narrowed after the fact, names with wrappers. What is trained is what gets a gradient; its numbers
are noise from a seed. The library's own outputs, of base and delta loaded from their folders, are
held against the folded folder, loaded again by its class without a missing or an unexpected tensor,
and against the attached state of a worker; `smoke` judges each as well.

{made} deltas were made: **{right} are right, {refused} are refused by name, {wrong} are silently
wrong.** {told} are wrong and verification says so; {doubted} are right and verification does not
pass. Of those refused, {meant} had to be. Right is an error of at most {tolerance:g} of the largest
output in float32; what is worked out from singular values may have ten times that. {lost} more the
libraries could not make or load themselves.

A part of it runs in `make test`, all of it in `make soak`.

## By kind

| kind | bases | {columns} | error, folded | error, attached |
|---|---:|---:|---:|---:|---:|---:|---:|---:|
"""


def everything(*, seed: int = SEED, heard: Callable[[str], None] = print) -> list[Outcome]:
    """Make all planned deltas, one at a time."""
    found: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        for base in BASES:
            own = list(outcomes_on(base, Path(folder) / "made", seed=seed))
            found += own
            for told in filter(None, map(complaint, own)):
                heard(told)
    return found


def page(found: Sequence[Outcome], *, peft: str, transformers: str) -> str:
    """Write the page from all outcomes."""
    made = [outcome for outcome in found if outcome.result in MADE]
    counts = Counter(outcome.result for outcome in made)
    head = _HEAD.format(
        bases=len({o.base for o in made}),
        architectures=len({o.architecture for o in made}),
        recipes=len(RECIPES),
        columns=" | ".join(MADE),
        peft=peft,
        transformers=transformers,
        made=len(made),
        **{name: counts[name] for name in MADE},
        tolerance=TOLERANCE,
        meant=sum(o.result == "refused" and bool(o.refused) for o in made),
        lost=sum(outcome.result == "not made" for outcome in found),
    )
    parts = [head + _by_kind(made), _refusals(made), _doubts(made), _by_base(made), _lost(found)]
    return "\n".join(parts)


def _by_kind(made: Iterable[Outcome]) -> str:
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in made:
        groups[outcome.recipe].append(outcome)
    lines = [
        f"| {name} | {len({o.base for o in own})} | {_counts(own)} | {_largest(own)} |"
        for name, own in sorted(groups.items(), key=lambda pair: list(RECIPES).index(pair[0]))
    ]
    return "\n".join(lines) + "\n"


def _counts(own: Sequence[Outcome]) -> str:
    counts = Counter(outcome.result for outcome in own)
    return " | ".join(str(counts[name] or "") for name in MADE)


def _largest(own: Sequence[Outcome]) -> str:
    right = [o for o in own if o.result in {"right", "doubted"}]
    folded = [o.folded for o in right if o.folded is not None]
    attached = [o.attached for o in right if o.attached is not None]
    return " | ".join(f"{max(errors):.0e}" if errors else "" for errors in (folded, attached))


def _refusals(made: Iterable[Outcome]) -> str:
    groups: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in made:
        if outcome.result == "refused":
            groups[outcome.recipe, outcome.code].append(outcome)
    lines = [
        "## What is refused, and why",
        "",
        "First what had to be refused, then what the library itself saves and loads.",
        "",
        "| delta | code | bases | such as |",
        "|---|---|---:|---|",
    ]
    ordered = sorted(groups.items(), key=lambda pair: (not pair[1][0].refused, pair[0]))
    lines += [
        f"| {recipe} | `{code}` | {len(own)} | {own[0].base}: {_short(own[0].message)} |"
        for (recipe, code), own in ordered
    ]
    meanings = [f"- `{code}`: {told}." for code, told in MAY_REFUSE.items()]
    return "\n".join([*lines, "", "Where the library itself has no doubt:", "", *meanings, ""])


def _doubts(made: Iterable[Outcome]) -> str:
    lines = [
        "## What only verification tells, and what it doubts",
        "",
        "Noise in small networks may exceed what checks of size allow (`idle`, `norm_ratio`, `spectral`);",
        "a part that a class never runs takes no part (`effect`, `exercised`).",
        "",
        "| delta | base | outcome | by |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {o.recipe} | {o.base} | {o.result} | {_short(o.message)} |"
        for o in made
        if o.result in {"told", "doubted", "wrong"}
    ]
    return "\n".join([*lines, ""])


def _by_base(made: Iterable[Outcome]) -> str:
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in made:
        groups[outcome.base].append(outcome)
    lines = [
        "## By base",
        "",
        "Each delta with its larger error, or the code that refuses it.",
        "",
        "| base | class | deltas |",
        "|---|---|---|",
    ]
    lines += [f"| {base} | {BASES[base][0]} | {'; '.join(map(_cell, own))} |" for base, own in groups.items()]
    return "\n".join([*lines, ""])


def _cell(outcome: Outcome) -> str:
    if outcome.result == "refused":
        return f"{outcome.recipe}: `{outcome.code}`"
    told = "" if outcome.result == "right" else f" ({outcome.result})"
    return f"{outcome.recipe}: {outcome.error:.0e}{told}"


def _lost(found: Iterable[Outcome]) -> str:
    reasons = Counter(_short(outcome.message, 90) for outcome in found if outcome.result == "not made")
    lines = ["## What the libraries cannot make", "", "| reason | times |", "|---|---:|"]
    lines += [f"| {reason} | {count} |" for reason, count in sorted(reasons.items())]
    return "\n".join([*lines, ""])


def _short(text: str, most: int = 200) -> str:
    plain = " ".join(text.replace("|", "/").replace("<", "&lt;").split())
    return plain if len(plain) <= most else f"{plain[:most]}…"


def main() -> None:
    """Make everything, print what is wrong, and write the page when asked."""
    import peft
    import transformers

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--seed", type=int, default=SEED)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    found = everything(seed=asked.seed)
    print(dict(Counter(outcome.result for outcome in found)))
    if asked.write:
        text = page(found, peft=peft.__version__, transformers=transformers.__version__)
        rest = PAGE.read_text().partition(HEADING)  # its last part is another program's
        PAGE.write_text(f"{text}\n{rest[1]}{rest[2]}" if rest[1] else text)


if __name__ == "__main__":
    main()
