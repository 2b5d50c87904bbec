"""Each call on an empty registry beside a full one: `python tests/benchmarks/bench_growth.py`.

A registry is filled with synthetic history as `make fill` does, in SQLite and in PostgreSQL; the
empty one is what such a filling begins with. Both are asked in turn, by one client over loopback to
a server in this process. A call's statements are counted, and what they read: rows of PostgreSQL,
thousands of steps of SQLite. These counts are exact on any machine, the times are not.

`--registry URL FOLDER` takes a filled registry that is there, and `--only` some calls by name.
"""

import argparse
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from deltareg.host.garbage import collect_in_small_steps, collect_rarely
from tests.benchmarks import page
from tests.benchmarks.filled_registry import add_options, asked_databases, filled_registry
from tests.benchmarks.growth_calls import Asked, GrowthCall, growth_calls, names_of
from tests.benchmarks.statement_counts import StatementCounter
from tests.pages.conftest import browser
from tests.scale.filled import empty_database, live_template, serving

_EMPTY = ("templatespace/templateline", "team/lora", "templatebase", "templateline")
_FULL = ("scale0/line0", "scale1/line1", "scale-base-000", "line1")
_HEAD = f"{'':<34}{'empty':>16}{'full':>18}{'':>7}{'statements':>12}{'{}':>24}"
_UNDER = (
    f"{'':<34}{'p50':>8}{'p99 ms':>8}{'p50':>10}{'p99 ms':>8}{'x':>7}{'':>4}{'empty full':>12}{'empty':>9}{'full':>9}"
)


@dataclass(frozen=True)
class Side:
    """One of the two registries."""

    asked: Asked
    counter: StatementCounter


@dataclass(frozen=True)
class Figures:
    """What a call took on one of them: ms in the middle and of the slowest in a hundred, counts."""

    p50: float
    p99: float
    statements: int
    rows: int


def main() -> None:
    """Measure, print and perhaps write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--count", type=int, default=40, help="how often each call is made")
    parser.add_argument("--seconds", type=float, default=3.0, help="the most that a call is measured for")
    parser.add_argument("--only", default="", help="calls whose names match")
    options = parser.parse_args()
    collect_rarely()  # as the server's own process does
    text = page.print_blocks(table(kind, options) for kind in asked_databases(options))
    page.write_docs(options, f"growth of {options.versions:,}", text)


def table(kind: str, options: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of one database."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dr-growth-")))
        for name in ("empty", "full"):
            (folder / name).mkdir()
        empty = stack.enter_context(empty_database(kind, folder / "empty"))
        live_template(empty, folder / "empty", tensors=8)
        url, place = filled_registry(stack, kind, options, folder / "full")
        sides = [
            stack.enter_context(opened(empty, folder / "empty", *_EMPTY)),
            stack.enter_context(opened(url, place, *_FULL)),
        ]
        collect_in_small_steps()
        yield f"{kind}, {options.versions:,} versions"
        yield _HEAD.format("rows read" if kind == "postgresql" else "1,000 steps")
        yield _UNDER
        for call in growth_calls():
            if re.search(options.only, call.name):
                yield told(call, *measured(call, sides, options))


@contextmanager
def opened(url: str, folder: Path, line: str, other: str, base: str, word: str) -> Iterator[Side]:
    """Run a server over a registry, with its statements counted."""
    with serving(url, folder) as server:
        counter = StatementCounter(server.registry.engine)
        with browser(server, server.admin_token) as pages:
            api = server.http(server.admin_token)
            api.base_url = server.url
            api.timeout = 300
            pages.timeout = 300
            number = next(names_of(api, line))
            yield Side(Asked(api, pages, line, other, base, number, word), counter)


def measured(call: GrowthCall, sides: list[Side], options: argparse.Namespace) -> list[Figures]:
    """Ask both in turn, so that what else the machine does hits both alike; count first."""
    counts = [counted(call, side) for side in sides]
    times: list[list[float]] = [[] for _ in sides]
    until = time.monotonic() + options.seconds * len(sides)
    for _ in range(3 if call.is_slow else options.count):
        for side, took in zip(sides, times, strict=True):
            began = time.perf_counter()
            call.ask(side.asked)
            took.append(1000 * (time.perf_counter() - began))
        if time.monotonic() > until:
            break
    return [
        Figures(statistics.median(took), sorted(took)[min(len(took) - 1, int(0.99 * len(took)))], *count)
        for took, count in zip(times, counts, strict=True)
    ]


def counted(call: GrowthCall, side: Side) -> tuple[int, int]:
    """Count a call's statements and what they read: the least of some, as the server does things of its own."""
    call.ask(side.asked)  # what is kept from then on is no call's
    found = []
    for _ in range(1 if call.is_slow else 3):
        with side.counter.counting() as counts:
            call.ask(side.asked)
        found.append(counts)
    least = min(found, key=lambda one: (len(one.statements), one.steps))
    return len(least.statements), side.counter.rows_read(least)


def told(call: GrowthCall, empty: Figures, full: Figures) -> str:
    """Say it in a line."""
    times = f"{empty.p50:>8.1f}{empty.p99:>8.1f}{full.p50:>10.1f}{full.p99:>8.1f}{full.p50 / empty.p50:>7.1f}"
    counts = f"{empty.statements:>11}{full.statements:>5}{empty.rows:>9,}{full.rows:>15,}"
    return f"{call.name:<34}{times}{counts}"


if __name__ == "__main__":
    main()
