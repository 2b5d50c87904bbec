"""Putting a benchmark's output into the page that tells of it, between two markers."""

from collections.abc import Iterable
from pathlib import Path


def print_blocks(blocks: Iterable[Iterable[str]]) -> str:
    """Print the lines of tables as they come; give all of it, with an empty line between two tables."""
    return "\n\n".join("\n".join(_printed(block)) for block in blocks)


def _printed(lines: Iterable[str]) -> Iterable[str]:
    for line in lines:
        print(line, flush=True)
        yield line


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
