"""`python -m tests.planted.mutated`: mutations of healthy deltas before the gate, and the page.

Twenty ways on twelve deltas of the tuning half, through push and `smoke` as it is: nothing comes
from the publisher, no samples and no golden outputs. Takes five minutes on one core.
"""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import fill

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import logging

from deltareg.suites.golden_file import GOLDEN_FILE
from deltareg_verify.engine.arrays import largest_difference
from deltareg_verify.judging.examine import examine
from tests.planted.broken import Saved
from tests.planted.deltas import CONFIG, Planted, edit, planted_set, publish
from tests.planted.gate import push_code
from tests.planted.mutations import WAYS
from tests.planted.page import MUTATIONS
from tests.planted.workshop import Workshop
from tests.small_networks import quiet
from tests.verify.bench import SMOKE, Bench

PAGE = Path(__file__).parents[2] / "docs" / "planted-first.md"
PLACES = (
    "llama/lora-qv",
    "llama/lora-all",
    "llama/dora",
    "llama/rslora",
    "llama/ia3",
    "gpt2/lora-c_attn",
    "gpt2/lora-square",
    "bert/lora-dense",
    "bert/lora-heavy",
    "bert/lokr",
    "vit/lora-mlp",
    "vit/oft",
)
READINGS = frozenset({"fewer_targets", "fewer_layers", "excluded", "no_class_prefix", "twice_prefixed", "one_dropped"})
"""Those after which the library reads the files otherwise than they were trained."""
_HARMLESS = "the same function"
_PASSES = "passes"
_SAME = 1e-6
_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Mutant:
    """What became of one mutation of one delta.

    Attributes:
        way: Which mutation.
        place: Of which delta.
        caught: By what: `push`, names of checks; `passes`, or `the same function`.
    """

    way: str
    place: str
    caught: tuple[str, ...]


def healthy(places: Sequence[str] = PLACES) -> list[Planted]:
    """Give the twelve deltas, or those of some places."""
    known = {
        one.id.split("/", 1)[1].rpartition("/")[0]: one
        for one in planted_set()
        if one.half == "tuning" and not one.defect
    }
    return [known[place] for place in places]


def survey(
    workshop: Workshop, folder: Path, *, places: Sequence[str] = PLACES, ways: Collection[str] = WAYS.keys()
) -> list[Mutant]:
    """Make every mutation that can be made, and put it before the gate."""
    return [found for planted in healthy(places) for found in _of_one(planted, workshop, folder, ways)]


def _of_one(planted: Planted, workshop: Workshop, folder: Path, ways: Collection[str]) -> Iterator[Mutant]:
    place = planted.id.split("/", 1)[1].rpartition("/")[0]
    base = workshop.base(planted.order.recipe.base)
    opened = partial(_opened, planted, workshop, base)
    sound = opened(folder / place.replace("/", "-"), None)
    assert isinstance(sound, Bench)
    wanted = sound.engine().outputs("attached")
    for way in (way for way in WAYS if way in ways):
        path = folder / f"{place.replace('/', '-')}-{way}"
        bench = opened(path, WAYS[way])
        if isinstance(bench, str):
            yield Mutant(way, place, (bench,))
        elif bench is not None:
            results = list(examine(bench.case()))
            required = {spec.name for spec in SMOKE.checks if spec.required}
            stops = [r.name for r in results if r.verdict == "fail" and r.name in required]
            same = largest_difference(bench.engine().outputs("attached"), wanted) <= _SAME
            yield Mutant(way, place, tuple(stops) or ((_HARMLESS,) if same else (_PASSES,)))


def _opened(
    planted: Planted, workshop: Workshop, base: Path, path: Path, way: Callable[[Saved], None] | None
) -> Bench | str | None:
    """Publish a mutant; None where there was nothing to mutate, `push` where it is refused."""
    publish(planted, workshop, path)
    (path / GOLDEN_FILE).unlink()
    if way is not None:
        before = _content(path)
        edit(path, base, np.random.default_rng(0), way)
        if _content(path) == before:
            return None
    cache = workshop.folder / "cache"
    return "push" if push_code(path, base, cache) else Bench(path, base, cache, suite=SMOKE)


def _content(folder: Path) -> dict[str, object]:
    """Give what a mutation may change: the config's fields, and the bytes of tensors by name."""
    (weights,) = folder.glob("*.safetensors")
    found: dict[str, object] = dict(json.loads((folder / CONFIG).read_text()))
    return found | {name: value.numpy().tobytes() for name, value in load_file(weights).items()}


def section(found: Sequence[Mutant]) -> str:
    """Write the part of the page."""
    names = [spec.name for spec in SMOKE.checks]
    checks = [name for name in names if any(name in one.caught for one in found)]
    columns = ["push", *checks, _HARMLESS, _PASSES]
    lines = [_row("mutation", "of", *columns), f"|---|{'---:|' * (len(columns) + 1)}"]
    for way in WAYS:
        of = [one for one in found if one.way == way]
        counts = Counter(name for one in of for name in one.caught)
        cells = [str(counts[column] or "") for column in columns]
        lines.append(_row(way.replace("_", " "), str(len(of)), *cells))
    passing = [one for one in found if one.caught == (_PASSES,)]
    told = "\n".join(f"- **{n.replace('_', ' ')}**: {w.__doc__}" for n, w in WAYS.items())
    kept = ", ".join(sorted({one.way.replace("_", " ") for one in passing})) or "none"
    told_of = fill(
        f"Written by `python -m tests.planted.mutated`. {len(WAYS)} ways to change the files of"
        f" {len(PLACES)} healthy deltas so that they still look like a delta's: {len(found)}"
        " mutants, through push and `smoke` as it is, with nothing from the publisher. What changes"
        " the reading is refused at push; `library_agrees` stands behind it for what is not.",
        _WIDTH,
    )
    left = fill(
        f"What is left is a delta like any other, only not the one that was trained:"
        f" {len(passing)} mutants, of {kept}. No check without knowledge of the task can tell them."
        " Samples or golden outputs do (the gates above): a line that matters needs a probe set.",
        _WIDTH,
    )
    return "\n\n".join([MUTATIONS, told_of, left, "\n".join(lines), told]) + "\n"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Mutate, measure, and put the table into its page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder, quiet():
        found = survey(Workshop(Path(folder) / "made"), Path(folder))
    for one in found:
        print(one.way, one.place, *one.caught, flush=True)
    text = options.page.read_text().partition(MUTATIONS)[0]
    options.page.write_text(text.rstrip() + "\n\n" + section(found))


if __name__ == "__main__":
    main()
