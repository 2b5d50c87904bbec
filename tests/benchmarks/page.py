"""The page of benchmarks: each prints its tables, and puts them there between two markers if it is asked to."""

import argparse
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
_BESIDE = os.getloadavg()[0]  # what else ran as it began


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that puts the tables into the page."""
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/benchmarks.md")


def print_blocks(blocks: Iterable[Iterable[str]]) -> str:
    """Print the lines of tables as they come; give all of it, with an empty line between two tables."""
    return "\n\n".join("\n".join(_printed(block)) for block in blocks)


def _printed(lines: Iterable[str]) -> Iterable[str]:
    for line in lines:
        print(line, flush=True)
        yield line


def write_docs(options: argparse.Namespace, marker: str, text: str) -> None:
    """Put tables into the page, with the day and the load beside which they were taken, if that is asked for."""
    if options.write_docs:
        taken = f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, load {_BESIDE:.1f} as it began"
        write_page(DOCS / "benchmarks.md", marker, f"{text}\n\n{taken}")


def write_page(page: Path, marker: str, text: str) -> None:
    """Replace what stands between the markers.

    Raises:
        SystemExit: The page does not have them.
    """
    begin, end = f"<!-- {marker}: begin -->\n", f"<!-- {marker}: end -->"
    before, found, rest = page.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"{page} has no place for it: {begin.strip()} … {end}")
    page.write_text(f"{before}{begin}```\n{text}\n```\n{end}{after}")
