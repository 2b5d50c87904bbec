"""Many deltas in one registry: `python tests/benchmarks/bench_many.py`.

300 LoRA deltas of one base, as a team has them, and the checkpoints of one real LoRA run go
through the client into a real server on loopback, with SQLite and a folder. What the store and the
database grow by (`du`, every block of the disk) stands beside the raw files, zipnn over each file,
and every file stored once, as git-lfs does.
"""

import argparse
import hashlib
import shutil
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks import page
from tests.benchmarks.data import Size, lora, team  # only now the tests can be imported
from tests.benchmarks.data.sentence_training import NEEDS, model_folder
from tests.benchmarks.peers.zipnn import PEERS as ZIPNN
from tests.benchmarks.weights import Weights, read
from tests.fixtures.processes import Processes

_MB = 1e6


@dataclass(frozen=True)
class Stored:
    """What one way of storing a corpus takes."""

    name: str
    size_bytes: int | None
    note: str = ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=team.COUNT, help="deltas of the team")
    parser.add_argument("--quick", action="store_true", help="40 deltas, a run of a moment")
    page.add_option(parser)
    options = parser.parse_args()
    if absent := [name for name in (*NEEDS, "peft") if find_spec(name) is None]:
        print(f"bench_many: not installed: {', '.join(absent)}; nothing measured")
        return
    size = Size(steps=0.02 if options.quick else 1.0)
    count = 40 if options.quick else options.count
    run = [team.Delta("run", folder) for folder in lora.folders(size)]
    text = "\n\n".join(
        table(title, deltas)
        for title, deltas in (
            (f"{count} LoRA deltas of a team", team.deltas(count)),
            (f"{len(run)} checkpoints of a LoRA run", run),
        )
    )
    print(text)
    page.write_docs(options, "many deltas", text)


def table(title, deltas):
    """Store a corpus in every way and tell what each takes."""
    files = [path for delta in deltas for path in sorted(delta.folder.iterdir())]
    raw = sum(path.stat().st_size for path in files)
    rows = [Stored("raw files", raw), in_zipnn(files), in_lfs(files), *in_registry(deltas)]
    lines = [f"{title:<38}{'MB':>9}{'of raw':>9}{'smaller':>9}"]
    for row in rows:
        if row.size_bytes is None:
            lines.append(f"{row.name:<38}  {row.note}")
            continue
        share = row.size_bytes / raw
        told = f"{row.size_bytes / _MB:>9.1f}{100 * share:>8.1f}%{1 / share:>8.2f}x"
        lines.append(f"{row.name:<38}{told}  {row.note}".rstrip())
    return "\n".join(lines)


def in_zipnn(files):
    """Compress each weight file by itself; the others are counted as they are."""
    peer = ZIPNN[0]
    if note := peer.missing():
        return Stored(peer.name, None, note)
    total = 0
    for path in files:
        if path.suffix == ".safetensors":
            dtype, tensors, data = read(path)
            weights = Weights(path.name, dtype, tensors, data)
            stored = peer.encode(weights, path.parent)
            total += stored.size_bytes + path.stat().st_size - data.nbytes
        else:
            total += path.stat().st_size
    return Stored("zipnn, every file", total)


def in_lfs(files):
    """Keep each different file once."""
    sizes = {hashlib.sha256(p.read_bytes()).digest(): p.stat().st_size for p in files}
    return Stored("every file once (git-lfs)", sum(sizes.values()))


def in_registry(deltas):
    """Push all of them, in their order, and see what the data folder has grown by."""
    folder = Path(tempfile.mkdtemp(prefix="deltareg-bench-"))
    processes = Processes(folder)
    try:
        server = processes.api().start()
        with server.client(folder / "cache") as client:
            client.bases.register(model_folder(), "minilm")
        before = _places(server)
        server.start()
        with server.client(folder / "cache") as client:
            began = time.monotonic()
            for delta in deltas:
                client.push(delta.folder, f"team/{delta.line}", base="minilm")
            took_s = time.monotonic() - began
        after = _places(server)
    finally:
        processes.end()
        shutil.rmtree(folder)
    blobs, rest = (b - a for a, b in zip(before, after, strict=True))
    rate = f"{len(deltas) / took_s:.0f} pushes a second"
    whole = Stored("ours: store and database", blobs + rest)
    return Stored("ours: the store", blobs, rate), whole


def _places(server):
    """End the server, fold SQLite's log into its file; give what store and database take."""
    server.stop()
    with closing(sqlite3.connect(server.data_dir / "registry.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    blobs = _on_disk(server.blobs)
    return blobs, _on_disk(server.data_dir) - blobs


def _on_disk(folder):
    return sum(path.lstat().st_blocks * 512 for path in (folder, *folder.rglob("*")))


if __name__ == "__main__":
    main()
