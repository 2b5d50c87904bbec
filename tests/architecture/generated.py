"""Pages that are written from the code: compare one with what stands in docs, or write it anew."""

import argparse
from collections.abc import Callable
from pathlib import Path


def compare_or_write(page: Path, generate: Callable[[], str]) -> None:
    """Run a generator from the command line: compare by default, write with `--write`."""
    parser = argparse.ArgumentParser(description=f"Check {page.name} against the code.")
    parser.add_argument("--write", action="store_true", help="write the page instead")
    text = generate()
    if parser.parse_args().write:
        page.write_text(text)
    elif not is_current(page, text):
        parser.exit(1, f"{page} is not what the code says; run: make docs\n")


def is_current(page: Path, text: str) -> bool:
    """Tell whether a page holds exactly this text."""
    return page.is_file() and page.read_text() == text
