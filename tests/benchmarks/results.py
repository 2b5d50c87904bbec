"""Results of the codec's benchmark: a file that grows run by run, and the tables made of it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from tests.benchmarks.data import GROUPS, Recipe, all_sets
from tests.benchmarks.measuring import Result
from tests.benchmarks.peers import all_peers

Results = dict[tuple[str, str], Result]
_DEFAULT = "ours default"
_NAME, _CELL = 22, 11
HEADING = f"{'':<{_NAME}}{'ratio':>10} " + "".join(
    f"{name:>10}" for name in ("enc/core", "dec/core", "enc/wall", "dec/wall")
)


def read_results(path: Path) -> Results:
    """Read what earlier runs left; nothing when there were none."""
    if not path.exists():
        return {}
    rows = (Result(**row) for row in json.loads(path.read_text()))
    return {(row.set, row.codec): row for row in rows}


def merged(known: Results, rows: Sequence[Result]) -> Results:
    """Add rows of one set; what was measured on other data of its name goes."""
    now = {(row.set, row.codec): row for row in rows}
    data = {row.set: (row.set_bytes, row.changed) for row in rows}
    kept = {
        key: row
        for key, row in known.items()
        if data.get(row.set, (row.set_bytes, row.changed)) == (row.set_bytes, row.changed)
    }
    return kept | now


def write_results(path: Path, results: Results) -> None:
    partial = path.with_suffix(".partial")
    rows = [asdict(row) for row in results.values()]
    partial.write_text(json.dumps(rows, indent=1) + "\n")
    partial.rename(path)


def tables(results: Results) -> str:
    """Make all tables: sizes and speeds by group of sets, then ours beside the best peer."""
    blocks = []
    for group in GROUPS:
        sets = [one for one in all_sets().values() if one.group == group]
        sets = [one for one in sets if any(name == one.name for name, _ in results)]
        if sets:
            blocks += [
                "\n".join(_matrix(results, sets, f"{group}: ratio", _ratio)),
                "\n".join(_matrix(results, sets, f"{group}: MB/s, enc/dec", _speed)),
            ]
    return "\n\n".join([*blocks, "\n".join(beside_the_best(results))])


def beside_the_best(results: Results) -> Iterator[str]:
    """Compare the default, and the fast profile, with the smallest that a peer makes of a set."""
    yield (f"{'ours and the best peer':<24}{'default':>9}{'fast':>9}  {'best peer':<22}{'its':>9}{'default/its':>13}")
    for name in all_sets():
        rows = [row for (of, _), row in results.items() if of == name and row.stored_bytes]
        ours = {row.codec: row for row in rows if row.is_ours}
        peers = [row for row in rows if not row.is_ours and not row.is_slice]
        if _DEFAULT not in ours or not peers:
            continue
        best = max(peers, key=lambda row: row.ratio)
        ratio = ours[_DEFAULT].ratio
        fast = f"{ours['ours fast'].ratio:.2f}" if "ours fast" in ours else ""
        yield (f"{name:<24}{ratio:>9.2f}{fast:>9}  {best.codec:<22}{best.ratio:>9.2f}{ratio / best.ratio:>13.3f}")


def line(row: Result) -> str:
    """Tell everything about a row, the clock on the wall included."""
    if row.note:
        return f"{row.codec:<{_NAME}}  {row.note}"
    rates = (f"{side}_{clock}" for clock in ("core", "wall") for side in ("encode", "decode"))
    told = "".join(f"{row.rate(rate):>10.0f}" for rate in rates)
    return f"{row.codec:<{_NAME}}{row.ratio:>10.2f}{_star(row):1}{told}"


def _matrix(results: Results, sets: Sequence[Recipe], title: str, cell) -> Iterator[str]:
    yield title
    yield f"{'':<{_NAME}}" + "".join(f"{one.label[0]:>{_CELL}}" for one in sets)
    yield f"{'':<{_NAME}}" + "".join(f"{one.label[1]:>{_CELL}}" for one in sets)
    shares = [_share(results, one.name) for one in sets]
    if any(shares):
        yield f"{'changed':<{_NAME}}" + "".join(f"{share:>{_CELL}}" for share in shares)
    for codec in all_peers():
        rows = [results.get((one.name, codec)) for one in sets]
        notes = {row.note for row in rows if row is not None and row.note}
        if notes:
            yield f"{codec:<{_NAME}}  {notes.pop()}"
        elif any(rows):
            yield _line(codec, rows, cell)
        if cell is _ratio and codec == _DEFAULT and any(rows):
            yield _line("  its packs alone", rows, _payload_ratio)


def _line(name: str, rows: Sequence[Result | None], cell) -> str:
    cells = ("" if row is None else cell(row) for row in rows)
    return f"{name:<{_NAME}}" + "".join(f"{text:>{_CELL}}" for text in cells)


def _share(results: Results, name: str) -> str:
    found = [row.changed for (of, _), row in results.items() if of == name]
    return "" if not found or found[0] is None else f"{100 * found[0]:.1f}%"


def _ratio(row: Result) -> str:
    return f"{row.ratio:.2f}{_star(row)}"


def _star(row: Result) -> str:
    return "*" if row.is_slice else ""


def _payload_ratio(row: Result) -> str:
    return f"{row.size_bytes / row.payload_bytes:.2f}" if row.payload_bytes else ""


def _speed(row: Result) -> str:
    return f"{row.rate('encode_core'):.0f}/{row.rate('decode_core'):.0f}"
