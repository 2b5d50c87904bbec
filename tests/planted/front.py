"""`python -m tests.planted.front`: docs/planted.md, the three planted sets side by side.

Figures are read from the pages that the sets' own programs write, so that no two pages differ.
"""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "planted.md"
_HEAD = """\
# The planted sets: what the gate catches

Written by `python -m tests.planted.front` from the three pages below; do not edit by hand.

A gate is worth what it stops. Three sets of deltas are made from seeds: healthy ones, and ones that
are broken as deltas are broken in real life. Each set has two halves with other seeds, sizes and
rates. Rules are set by the *tuning* half; this page tells of the *held-out* half.

| | [first](planted-first.md) | [second](planted-more.md) | [third](planted-third.md) |
|---|---|---|---|
| bases | Llama, GPT-2, BERT, ViT | those, T5, CLIP, wav2vec2, MiniLM, CREPE | Qwen3, OPT |
| made | beside the gate | apart from the gate | apart, its list committed first |
| a fault counts | always | where it costs something | where it costs something |

What it costs is measured by the libraries that made the delta, on rows that no suite has.

## What is stopped, and what fails unfairly

| gate | first: broken | healthy | second: material | healthy | third: material | healthy |
|---|---:|---:|---:|---:|---:|---:|
"""
_TAIL = """
`suite init` drafts a suite of a user's own rows; the first set's samples are in a suite that was
written by hand. No rule and no threshold is set by what a held-out half shows.

Each page has every fault, what stops it, and what passes all of it.

## What others measured

Two sets are not in the repository. They were made to audit the gate, before the third set was.

| gate | audit: material | older audit: material |
|---|---:|---:|
| `smoke` alone | 5 of 31 (16%) | 16 of 50 (32%) |
| with what the training recorded | 11 of 31 (35%) | 34 of 50 (68%) |
| `smoke`, and `suite init` | 26 of 31 (84%) | |
| all of it | 27 of 31 (87%) | |

No healthy delta failed in the first. In the older one, a LoRA that was saved in bfloat16 did.
"""
_HELD_OUT = "## What is stopped, held-out half"
_COUNTS = re.compile(r"(\d+) of (\d+)")
_ABSENT = ("", "")
_SMOKE, _ALL = "push and `smoke`, nothing from the publisher", "all of it"
# A line, and the gate of each page that it tells of; empty where the page has none.
_LINES: tuple[tuple[str, str, str, str], ...] = (
    ("`smoke` alone", _SMOKE, _SMOKE, "`smoke`"),
    (
        "with what the training recorded",
        "golden outputs instead of samples",
        "and golden outputs",
        "with golden outputs and the training's record",
    ),
    ("`smoke`, and samples", "the same samples, beside both", "", ""),
    ("`smoke`, and `suite init` of 50 rows", "", "", "`smoke` and `suite init` of 50 rows"),
    (
        "`smoke`, and `suite init` of 200 rows",
        "",
        "push, `smoke` and what `suite init` drafts of 200 samples",
        "`smoke` and `suite init` of 200 rows",
    ),
    ("all of it", _ALL, _ALL, _ALL),
)


def front(docs: Path = DOCS) -> str:
    """Write the page of what the three others say.

    Raises:
        ValueError: A page has no such gate.
    """
    first, second, third = ((docs / f"planted-{name}.md").read_text() for name in ("first", "more", "third"))
    rows = [
        (told, *_passing(first, one), *_stopped(second, two), *_stopped(third, three))
        for told, one, two, three in _LINES
    ]
    return _HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows) + _TAIL


def _passing(page: str, gate: str) -> tuple[str, str]:
    """Read what passes of the broken, and give what does not; and the healthy that fail."""
    if not gate:
        return _ABSENT
    (passed, whole), (failing, healthy) = _counts(page, "## What passes", gate)[:2]
    return _share(whole - passed, whole), _share(failing, healthy)


def _stopped(page: str, gate: str) -> tuple[str, str]:
    """Read what is stopped of the material, and the healthy that fail, which stand last."""
    if not gate:
        return _ABSENT
    if "Not judged yet" in page.partition(_HELD_OUT)[2].partition("\n## ")[0]:
        return "not judged yet", ""
    counts = _counts(page, _HELD_OUT, gate)
    return _share(*counts[0]), _share(*counts[-1])


def _counts(page: str, title: str, gate: str) -> list[tuple[int, int]]:
    lines = page.partition(title)[2].splitlines()
    row = next((line for line in lines if line.startswith(f"| {gate} |")), "")
    found = [(int(count), int(whole)) for count, whole in _COUNTS.findall(row)]
    if len(found) < 2:
        raise ValueError(f"{title}: there is no gate {gate!r}")
    return found


def _share(count: int, whole: int) -> str:
    return f"{count} of {whole}" + (f" ({count / whole:.0%})" if whole else "")


def main() -> None:
    """Write it."""
    PAGE.write_text(front())
    print(PAGE)


if __name__ == "__main__":
    main()
