"""Pushes checkpoints in turn and pulls each on a cold machine; prints the figures as JSON.

`bench_cold.py` runs it, with the code of this checkout and of others: it uses what all of them have.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from tests.fixtures.processes import Processes


def main():
    base, checkpoints = Path(sys.argv[1]), Path(sys.argv[2])
    folder = Path(tempfile.mkdtemp(prefix="deltareg-bench-"))
    processes = Processes(folder)
    try:
        sys.stdout.write(json.dumps(figures(processes, folder, base, sorted(checkpoints.iterdir()))))
    finally:
        processes.end()
        shutil.rmtree(folder)


def figures(processes, folder, base, checkpoints):
    server = processes.api().start()
    rows = []
    with server.client(folder / "pusher") as client:
        client.bases.push(base, "base")
        empty = size_of(server.blobs)
        pushed = [client.push(path, "lab/run", base="base") for path in checkpoints]
        store = size_of(server.blobs) - empty
    for number, (path, push) in enumerate(zip(checkpoints, pushed, strict=True)):
        with server.client(folder / f"alone{number}") as other:
            other.bases.push(base, "base")  # it is there: this machine now knows where it has it
            alone = other.push(path, f"alone{number}/run", base="base").uploaded_bytes
        with server.client(folder / f"cold{number}") as cold:
            cold.bases.push(base, "base")
            report = cold.pull(push.version.ref, folder / f"out{number}")
        for file in path.iterdir():
            assert (folder / f"out{number}" / file.name).read_bytes() == file.read_bytes()
        row = {"file": size_of(path), "alone": alone, "cold": report.fetched_bytes, "stored": push.uploaded_bytes}
        rows.append(row)
    return {"versions": rows, "store": store}


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
