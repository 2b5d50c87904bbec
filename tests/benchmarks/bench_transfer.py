"""Push, pull and materialize of a full fine-tune: `python tests/benchmarks/bench_transfer.py`.

A bf16 base and a fine-tune of it are made from a seed (about a third of the weights differ) and go
through the installed command line and a real server on loopback, with SQLite and a folder. MB are
bytes of the delta; "cp" is the time as a multiple of `cp -r` of the same folder, synced to the disk
as ours is; memory is the client's peak of anonymous memory.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.faults import big  # only now the tests can be imported
from tests.faults.measured import MB, Cli, copy_seconds
from tests.fixtures.processes import Processes


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=2048)
    size_bytes = parser.parse_args().megabytes << 20
    folder = Path(tempfile.mkdtemp(prefix="deltareg-bench-"))
    processes = Processes(folder)
    try:
        measure(processes, folder, size_bytes)
    finally:
        processes.end()
        shutil.rmtree(folder)


def measure(processes, folder, size_bytes):
    base, tuned = big.write_pair(folder, size_bytes)
    size = sum(path.stat().st_size for path in tuned.iterdir())
    server = processes.api().start()
    run = Cli(processes, server.url, server.token)
    copied_s = copy_seconds(tuned, folder / "copy")
    print(f"cp -r and fsync of {size / MB:.0f} MB: {copied_s:.1f} s\n")
    print(f"{'':<16}{'s':>8}{'MB/s':>8}{'cp':>7}{'peak MB':>9}{'sent or fetched MB':>21}")
    commands = {
        "base register": ("base", "register", str(base), "big"),
        "push": ("push", str(tuned), "lab/big", "--base", "big"),
        "push again": ("push", str(tuned), "lab/big", "--base", "big"),
        "pull": ("pull", "lab/big:v1", "--to", str(folder / "pulled")),
        "materialize": ("materialize", "lab/big:v1", "--out", str(folder / "made")),
    }
    for name, command in commands.items():
        done = run(*command)
        moved = done.document.get("uploaded_bytes", done.document.get("fetched_bytes", 0))
        print(
            f"{name:<16}{done.seconds:>8.1f}{size / MB / done.seconds:>8.0f}"
            f"{done.seconds / copied_s:>7.1f}{done.peak_bytes / MB:>9.0f}{moved / MB:>21.0f}"
        )


if __name__ == "__main__":
    main()
