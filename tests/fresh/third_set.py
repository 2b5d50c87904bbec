"""Make the deltas of the families and say what became of them: `python -m tests.fresh.third_set [--write]`.

Those of earlier releases lie in a folder, where `tests/fresh/make_older.py` puts them; without it
they are left out. `--write` writes the last part of docs/fresh.md.
"""

import argparse
import os
import tempfile
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from tests.fresh import diffused, families, kept
from tests.fresh.outcomes import Outcome
from tests.fresh.rules import complaint

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "fresh.md"
OLDER = Path(os.environ.get("DELTAREG_OLDER_DELTAS", ROOT / ".pytest_cache" / "d" / "older"))
NO_OLDER = f"needs deltas of earlier releases in {OLDER}: see tests/fresh/make_older.py"
HEADING = "## Families that were not taken"
CLASSES = ("passed", "not passed", "refused fairly", "refused unfairly", "silently wrong", "wrong and told")
_HEAD = """\
{heading}

Written by `python -m tests.fresh.third_set --write`.

A set of its own is made of families whose deltas were not taken as they should be: {count} deltas on
{bases} bases, {old} of them by peft 0.10, 0.14 and 0.17 in environments of their own (`make_older.py`),
{diffused} by diffusers. The library that wrote a delta says what is right, within {tolerance:g} of its largest
output. **{passed} ({share:.0%}) are right and pass `smoke`, {wrong} are silently wrong**, and {fair} are refused
with the reason and, where there is one, the command that mends them: `convert` was run on these, and
its result judged as well.

| family | deltas | {columns} |
|---|---:|---:|---:|---:|---:|---:|---:|
"""


def everything(*, heard: Callable[[str], None] = print) -> list[Outcome]:
    """Make and judge them, one at a time."""
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        for outcome in _each(Path(folder)):
            if outcome.result in {"not made", "no effect"}:
                continue
            outcomes.append(outcome)
            told = complaint(outcome)
            if told:
                heard(told)
    return outcomes


def _each(folder: Path) -> Iterator[Outcome]:
    for base in families.bases():
        yield from families.outcomes_on(base, folder / "made")
    for case in diffused.cases(folder / "diffused"):
        if isinstance(case, Path):
            yield kept.outcome_of(case, case)
    yield from older(folder)


def older(folder: Path) -> Iterator[Outcome]:
    """Judge those of earlier releases, as far as they are here."""
    for case in sorted(OLDER.glob("*/meta.json")):
        work = folder / case.parent.name
        work.mkdir()
        yield kept.outcome_of(case.parent, work)


def sort_of(outcome: Outcome) -> str:
    """Give the class of an outcome."""
    named = {"right": "passed", "doubted": "not passed", "wrong": "silently wrong", "told": "wrong and told"}
    if outcome.result == "refused":
        return "refused unfairly" if complaint(outcome) else "refused fairly"
    return named[outcome.result]


def shares(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Give the share of each class."""
    counts = Counter(map(sort_of, outcomes))
    return {name: counts[name] / len(outcomes) for name in CLASSES}


def section(outcomes: Sequence[Outcome]) -> str:
    """Write the part of the page."""
    counts = Counter(map(sort_of, outcomes))
    head = _HEAD.format(
        heading=HEADING,
        count=len(outcomes),
        bases=len({o.base for o in outcomes}),
        old=sum(o.by.startswith("peft") for o in outcomes),
        diffused=sum(_family(o) == "diffusion" for o in outcomes),
        tolerance=kept.TOLERANCE,
        passed=counts["passed"],
        share=counts["passed"] / len(outcomes),
        wrong=counts["silently wrong"],
        fair=counts["refused fairly"],
        columns=" | ".join(CLASSES),
    )
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[_family(outcome)].append(outcome)
    lines = [f"| {name} | {len(own)} | {_cells(own)} |" for name, own in sorted(groups.items())]
    return head + "\n".join([*lines, "", *_reasons(outcomes), ""])


def _cells(own: Iterable[Outcome]) -> str:
    counts = Counter(map(sort_of, own))
    return " | ".join(str(counts[name] or "") for name in CLASSES)


def _family(outcome: Outcome) -> str:
    if outcome.by.startswith("peft"):
        return f"{outcome.by.rpartition('.')[0].partition(',')[0].rpartition('.')[0]}, all families"
    return next((name for name, own in families.FAMILIES.items() if outcome.base in own), "diffusion")


def _reasons(outcomes: Iterable[Outcome]) -> Iterator[str]:
    yield from ("| delta | base | by | class | reason |", "|---|---|---|---|---|")
    for o in outcomes:
        kind = sort_of(o)
        if kind != "passed":
            mended = "; right after `convert`" if o.converted == "right" else ""
            yield f"| {o.recipe} | {o.base} | {o.by} | {kind} | {_short(o.message)}{mended} |"


def _short(text: str, most: int = 160) -> str:
    plain = " ".join(text.replace("|", "/").replace("<", "&lt;").split())
    return plain if len(plain) <= most else f"{plain[:most]}…"


def main() -> None:
    """Make everything, print what is wrong, and write the part of the page when asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    outcomes = everything()
    print(len(outcomes), dict(Counter(map(sort_of, outcomes))))
    if asked.write:
        before = PAGE.read_text().partition(HEADING)[0].rstrip()
        PAGE.write_text(f"{before}\n\n{section(outcomes)}")


if __name__ == "__main__":
    main()
