"""The codec beside other ones, on the same data: `python tests/benchmarks/bench_peers.py`.

Real fine-tunes (made here, by AdamW, on first use: some minutes), a synthetic model, checkpoints of
a LoRA run, and weights without a base go through this library, through codecs that pip installs
(`pip install 'deltareg[bench]'`) and through two that were written anew from their papers. What is
not installed is a row that says so. Every codec gets one thread, and gives back every bit, or the
run fails. MB are bytes of the tensors; speeds are per second of CPU time of all threads.

Results are merged into a file, so that sets may be measured one by one; tables, plot and page come
from all that is in it.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks import figure, page, results  # only now the tests can be imported
from tests.benchmarks.data import Size, all_sets
from tests.benchmarks.measuring import measure
from tests.benchmarks.peers import all_peers
from tests.benchmarks.weights import cache_folder

_QUICK, _WHOLE_LAYERS = Size(layers=1, steps=0.02), 15
_IMAGE = page.DOCS / "images" / "codec.png"


def main():
    options = _options()
    size = _size(options)
    path = options.results or cache_folder() / ("quick.json" if options.quick else "results.json")
    found = results.read_results(path)
    chosen = _chosen(all_peers(), options.peers)
    for recipe in [] if options.no_run else _chosen(all_sets(), options.sets):
        if note := recipe.missing():
            print(f"\n{recipe.name}: {note}")
            continue
        found = results.merged(found, _measured(recipe, size, chosen, options.repeat))
        results.write_results(path, found)
    print(f"\n{results.tables(found)}\n\n{path}")
    if options.plot or options.write_docs:
        print(figure.draw(found, options.plot or _IMAGE))
    page.write_docs(options, "codec beside others", results.tables(found))


def _options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", metavar="NAME", help="these, by name or its beginning")
    parser.add_argument("--peers", nargs="+", metavar="NAME", help="these, by name or its beginning")
    parser.add_argument("--quick", action="store_true", help="small data, trained for a moment")
    parser.add_argument("--layers", type=int, default=Size.layers, help="of the synthetic model")
    parser.add_argument("--whole", action="store_true", help="the synthetic model as it should be")
    parser.add_argument("--repeat", type=int, default=1, help="the best of so many runs counts")
    parser.add_argument("--results", type=Path, help="the file to merge into")
    parser.add_argument("--no-run", action="store_true", help="only show what the file holds")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw ratio against speed")
    page.add_option(parser)
    parser.add_argument("--list", action="store_true", help="name sets and codecs, and what lacks")
    options = parser.parse_args()
    if options.list:
        lacks = {name: one.missing() for name, one in all_sets().items()}
        lacks |= {name: one.missing() for name, one in all_peers().items()}
        print("\n".join(f"{name:<24}{lack}".rstrip() for name, lack in lacks.items()))
        raise SystemExit
    return options


def _size(options) -> Size:
    if options.quick:
        return _QUICK
    return Size(layers=_WHOLE_LAYERS if options.whole else options.layers)


def _chosen(table: dict, names):
    """Give values by name, or by the beginning of one."""
    if names is None:
        return list(table.values())
    found = [value for key, value in table.items() if key.startswith(tuple(names))]
    if not found:
        raise SystemExit(f"none of {', '.join(names)}; there are: {', '.join(table)}")
    return found


def _measured(recipe, size, peers, repeat):
    weights = recipe.open(size)
    changed = "" if weights.changed is None else f", {100 * weights.changed:.1f} % changed"
    print(f"\n{recipe.name}: {weights.data.nbytes / 1e6:.0f} MB of {weights.dtype}{changed}")
    print(results.HEADING)
    rows = []
    for peer in peers:
        if peer.takes(weights):
            rows.append(measure(peer, weights, repeat=repeat))
            print(results.line(rows[-1]), flush=True)
    return rows


if __name__ == "__main__":
    main()
