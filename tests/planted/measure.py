"""`python -m tests.planted.measure`: make the planted set, put it through the gate, write the page.

    python -m tests.planted.measure --jobs 2               # docs/planted-first.md
    python -m tests.planted.measure --values FILE.jsonl    # and keep what every check gave
    python -m tests.planted.measure --from FILE.jsonl …    # the page anew, from what was kept
    python -m tests.planted.measure --half tuning --values FILE.jsonl    # one half, and no page

It takes a quarter of an hour on two cores. The same seeds give the same deltas. Whoever sets
thresholds looks at the tuning half alone.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

import torch
from transformers import logging

from deltareg.wire import CheckResult
from tests.planted.bases import SUBJECTS
from tests.planted.deltas import SEEDS, Planted, planted_set
from tests.planted.gate import Seen, look_at
from tests.planted.page import MUTATIONS, page
from tests.planted.workshop import Workshop
from tests.small_networks import quiet

PAGE = Path(__file__).parents[2] / "docs" / "planted-first.md"


def survey(wanted: Sequence[Planted], folder: Path) -> list[Seen]:
    """Put deltas through push and checks, one after the other."""
    workshop = Workshop(folder)
    with quiet():
        return [look_at(planted, workshop, folder) for planted in wanted]


def survey_in_parallel(wanted: Sequence[Planted], folder: Path, *, jobs: int) -> list[Seen]:
    """The same with a process for every base at most; the results are in the order of the set."""
    parts = [[one for one in wanted if one.order.recipe.base == base] for base in SUBJECTS]
    tasks = [(part, folder / str(number)) for number, part in enumerate(parts)]
    with get_context("spawn").Pool(jobs, _still) as pool:
        found = pool.starmap(survey, tasks, chunksize=1)
    by_id = {seen.planted.id: seen for part in found for seen in part}
    return [by_id[planted.id] for planted in wanted]


def main() -> None:
    """Measure the whole set and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--values", type=Path, help="also keep all that was found")
    parser.add_argument("--from", type=Path, nargs="+", dest="kept", help="take what earlier runs kept")
    parser.add_argument("--half", choices=SEEDS, help="only this half, and no page")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    if options.half and not options.values:
        parser.error("--half wants --values, which keeps what was found")
    started = time.monotonic()
    wanted = [one for one in planted_set() if options.half in {None, one.half}]
    found = _read(options.kept) if options.kept else _measured(wanted, options.jobs)
    if options.values:
        options.values.write_text("".join(f"{_line(seen)}\n" for seen in found))
    if not options.half:
        _, title, kept = _written(options.page).partition(MUTATIONS)
        options.page.write_text(page(found) + (f"\n{title}{kept}" if title else ""))
    print(f"{len(found)} deltas in {time.monotonic() - started:.0f} s")


def _written(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _measured(wanted: Sequence[Planted], jobs: int) -> list[Seen]:
    with tempfile.TemporaryDirectory() as folder:
        return survey_in_parallel(wanted, Path(folder), jobs=jobs)


def _line(seen: Seen) -> str:
    results = {name: result.model_dump() for name, result in seen.results.items()}
    return json.dumps([seen.planted.id, seen.refusal, results])


def _read(paths: Sequence[Path]) -> list[Seen]:
    found: dict[str, Seen] = {}
    known = {planted.id: planted for planted in planted_set()}
    for line in (line for path in paths for line in path.read_text().splitlines()):
        name, refusal, results = json.loads(line)
        outcomes = {check: CheckResult(**result) for check, result in results.items()}
        found[name] = Seen(known[name], refusal, outcomes)
    if missing := known.keys() - found.keys():
        raise SystemExit(f"{len(missing)} deltas were not looked at, such as {min(missing)}")
    return [found[name] for name in known]


def _still() -> None:
    torch.set_num_threads(1)
    logging.disable_progress_bar()


if __name__ == "__main__":
    main()
