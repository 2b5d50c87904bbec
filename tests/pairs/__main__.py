"""Replay a schedule, or explore pairs of operations: `python -m tests.pairs move collect 5 --on postgresql`."""

import argparse
import os
import shlex
import subprocess
import sys

_TEST = "tests/pairs/test_pairs.py"


def main():
    """Run the test of the harness that does what the arguments say; give its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.pairs", description=__doc__)
    parser.add_argument("operations", nargs="*", help="A and B, and then the pause; A alone is explored beside all")
    parser.add_argument("--on", default="sqlite", choices=["sqlite", "postgresql", "postgresql-s3"])
    parser.add_argument("--triples", action="store_true", help="two operations at the pauses of a third")
    given = parser.parse_args()
    wanted = {"DELTAREG_PAIRS": shlex.join(given.operations) or "all", "DELTAREG_PAIRS_ON": given.on}
    name = "test_triples" if given.triples else "test_chosen_pairs"
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-m", "soak", "--timeout", "0", f"{_TEST}::{name}"]
    return subprocess.call(command, env=os.environ | wanted)


if __name__ == "__main__":
    raise SystemExit(main())
