"""`python -m tests.planted.third STEP KEPT`: the third planted set; see the package's docstring."""

import argparse
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

from tests.planted.third import __doc__ as about
from tests.planted.third.items import Item, third_set
from tests.planted.third.recipes import HALVES, Half
from tests.planted.third.records import EXPECTED, digest_of, expectations
from tests.planted.third.report import PAGE, code_digest, page
from tests.planted.third.running import Work, run, still
from tests.planted.third.shop import Shop
from tests.small_networks import quiet

_STEPS = ("make", "expect", "judge", "page")


def main() -> None:
    """Do what is asked for and tell how far it came."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=_STEPS)
    parser.add_argument("kept", type=Path, help="what is trained and measured")
    parser.add_argument("out", type=Path, nargs="?", help="what the gate said")
    parser.add_argument("--half", choices=HALVES, help="only this half; judge takes tuning when not told")
    parser.add_argument("--places", default="", help="only these, such as route/lora-all,reports/full")
    parser.add_argument("--faults", default="", help="only these, with commas; healthy is one")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="processes")
    options = parser.parse_args()
    if options.step in {"judge", "page"} and options.out is None:
        parser.error(f"{options.step} wants OUT, which keeps what the gate said")
    shop = Shop(options.kept)
    match options.step:
        case "expect":
            with tempfile.TemporaryDirectory() as folder, quiet():
                told = expectations(third_set("held-out"), shop, Path(folder))
            EXPECTED.write_text(told)
            print(f"{EXPECTED}: {digest_of(told)}")
        case "page":
            PAGE.write_text(page(shop, options.out / code_digest()))
            print(PAGE)
        case _:
            _work(options, _wanted(options))


def _wanted(options: argparse.Namespace) -> list[Item]:
    half: Half | None = options.half or ("tuning" if options.step == "judge" else None)
    places, faults = options.places.split(","), options.faults.split(",")
    return [
        item
        for item in third_set(half)
        if (not options.places or item.recipe.place in places)
        and (not options.faults or (item.fault or "healthy") in faults)
    ]


def _work(options: argparse.Namespace, wanted: list[Item]) -> None:
    out = options.out / code_digest() if options.step == "judge" else None
    by_place: dict[str, list[Item]] = {}
    for item in wanted:
        by_place.setdefault(item.recipe.place, []).append(item)
    shop = Shop(options.kept)
    for base in sorted({item.recipe.base for item in wanted}):  # once, before processes part
        shop.base(base)
        shop.base(base, is_twin=True)
    started = time.monotonic()
    parts = [Work(tuple(items), options.kept, out) for items in by_place.values()]
    with get_context("spawn").Pool(options.jobs, still) as pool:
        for name, count, seconds in pool.imap_unordered(run, parts):
            print(f"{name}: {count} items, {seconds:.0f} s of processor time", flush=True)
    print(f"{len(wanted)} items in {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
