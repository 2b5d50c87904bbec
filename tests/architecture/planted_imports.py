"""Holds the source against all contracts, and shows that each catches what it is meant for.

`python -m tests.architecture.planted_imports TREE`: reads `[[contract, file, line], ...]` from
standard input and prints a list of `[status, output]`, that of all contracts first. One process,
for most of a run of the linter is its start; the copy is whole again after each plant.
"""

import io
import json
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path

from importlinter import cli

from tests.architecture.tree import SOURCE_ROOTS


def main() -> None:
    """Run all contracts, then try each plant of standard input."""
    tree = Path(sys.argv[1])
    sys.path[:0] = [str(tree / root) for root in SOURCE_ROOTS]
    os.chdir(tree)
    found = [linted(), *(tried(tree, *plant) for plant in json.load(sys.stdin))]
    json.dump(found, sys.stdout)


def tried(tree: Path, contract: str, file: str, line: str) -> tuple[int, str]:
    """Add a line to a file, or make the file; gives the linter's status and what it printed."""
    target = tree / file
    before = target.read_text() if target.exists() else None
    target.write_text(f"{before or ''}\n{line}\n")
    try:
        return linted(contract)
    finally:
        if before is None:
            target.unlink()
        else:
            target.write_text(before)


def linted(*contracts: str) -> tuple[int, str]:
    """Run these contracts, or all; gives the linter's status and what it printed."""
    said = io.StringIO()
    with redirect_stdout(said):
        status = cli.lint_imports(limit_to_contracts=contracts, cache_dir="cache")
    return status, said.getvalue()


if __name__ == "__main__":
    main()
