"""What no honest client does: `python -m tests.e2e.lie FOLDER LINE BASE` pushes zeros as a delta.

The manifest has the true digests of the folder; the bytes behind the headers are zeros.
"""

import sys
import tempfile
from pathlib import Path

from deltareg.client import Client
from tests.proving import push_lie, zeros_of


def main() -> None:
    """Push the lie, with the settings of whoever calls it."""
    folder, line, base = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name, Client() as client:
        zeros = zeros_of(Path(folder), Path(name) / "zeros")
        version = push_lie(client, Path(folder), zeros, line, base=base)
    print(f"{version.ref}: the digests of {folder}, and nothing but zeros")


if __name__ == "__main__":
    main()
