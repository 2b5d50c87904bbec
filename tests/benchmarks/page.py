"""Putting a benchmark's output into the page that tells of it, between two markers."""

from pathlib import Path


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
