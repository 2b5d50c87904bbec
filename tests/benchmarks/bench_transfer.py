"""Push, pull and update of a full fine-tune: `python tests/benchmarks/bench_transfer.py`.

A bf16 base, a fine-tune of it and a checkpoint that was trained on from that are made from a seed
(the fine-tune differs in about a third of the weights) and go through the installed command line
and a real server on loopback, with SQLite and a folder. MB are bytes of the delta. "cp" is the time
as a multiple of `cp -r` of the same folder, and "upload" of sending the same files as they are to
the same server; all are synced to the disk. Memory is the client's peak of anonymous memory.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from deltareg.client.cache.cache import Cache
from deltareg.client.config import ClientConfig
from deltareg.client.folders.base_folder import open_base  # only now the tests can be imported
from deltareg.client.http.api import Api
from deltareg.digest import sha256_of
from deltareg.wire import UploadInfo, UploadOpen, request_of
from tests.benchmarks import page
from tests.faults import big
from tests.faults.measured import MB, Cli, copy_seconds
from tests.fixtures.processes import Processes
from tests.fixtures.registries import SAMPLES

_STEP_BYTES = 16 << 20
_SAMPLE = SAMPLES / "bases" / "tinyllama"
_NEXT_STEP = big.REAL_STEP / 4


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=2048)
    page.add_option(parser)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="deltareg-bench-"))
    processes = Processes(folder)
    try:
        text = "\n".join(lines(processes, folder, options.megabytes << 20))
    finally:
        processes.end()
        shutil.rmtree(folder)
    page.write_docs(options, "transfer", text)


def lines(processes, folder, size_bytes):
    """Measure; give the table line by line, and show it on the way."""

    def told(line):
        print(line, flush=True)
        return line

    base, tuned = big.write_pair(folder, size_bytes)
    later = big.write_next(folder / "later", size_bytes, step=_NEXT_STEP)
    size = sum(path.stat().st_size for path in tuned.iterdir())
    server = processes.api().start()
    run = Cli(processes, server.url, server.token)
    touch_memory(2 * size)
    copied_s = copy_seconds(tuned, folder / "copy")
    touch_memory(2 * size)
    sent_s = upload_seconds(server, tuned, folder / "cache")
    yield told(f"cp -r of {size / MB:.0f} MB: {copied_s:.1f} s; upload: {sent_s:.1f} s\n")
    yield told(f"{'':<22}{'s':>7}{'MB/s':>7}{'cp':>7}{'upload':>8}{'peak MB':>9}{'MB sent or fetched':>20}")
    pulled, made = str(folder / "pulled"), str(folder / "made")
    to_next = ("update", pulled, "--to", "lab/big:v2")
    commands = {
        "base register": ("base", "register", str(base), "big"),
        "push": ("push", str(tuned), "lab/big", "--base", "big"),
        "push again": ("push", str(tuned), "lab/big", "--base", "big"),
        "pull": ("pull", "lab/big:v1", "--to", pulled),
        "materialize": ("materialize", "lab/big:v1", "--out", made),
        "push a checkpoint": ("push", str(later), "lab/big", "--base", "big"),
        "update, planned": (*to_next, "--plan"),
        "update": to_next,
    }
    moved, whole = 0, 0
    for name, command in commands.items():
        # Each begins with an empty cache, as on another machine.
        run("cache", "prune", "--max-size", "0", "--yes")
        touch_memory(2 * size)
        done = run(*command)
        moved = done.document.get("uploaded_bytes", done.document.get("fetched_bytes", 0))
        whole = done.document.get("full_bytes", whole)
        yield told(
            f"{name:<22}{done.seconds:>7.1f}{size / MB / done.seconds:>7.0f}"
            f"{done.seconds / copied_s:>7.2f}{done.seconds / sent_s:>8.2f}"
            f"{done.peak_bytes / MB:>9.0f}{moved / MB:>20.1f}"
        )
    yield told(
        f"\nupdate: {moved / MB:.1f} MB on the wire; a whole pull: {whole / MB:.1f} MB "
        f"({whole / moved:.2f} times as much), the files: {size / MB:.0f} MB"
    )


def touch_memory(size_bytes):
    """Have that much memory ready: a virtual machine may have to ask its host for each new page."""
    touch = f"import numpy; numpy.ones({size_bytes}, numpy.uint8)"
    subprocess.run([sys.executable, "-c", touch], check=True)


def upload_seconds(server, folder, cache):
    """Send files as they are, step by step as packs of an upload that is given up afterwards."""
    files = sorted(folder.iterdir())
    config = ClientConfig(server=server.url, token=server.token, cache_dir=cache)
    with closing(Api(config)) as api, open_base(_SAMPLE, Cache(cache)) as sample:
        request = request_of(UploadOpen, subject="base", target="raw", manifest=sample.manifest.encode().decode())
        upload = api.post("/uploads", request, UploadInfo)
        began, number = time.monotonic(), 0
        for path in files:
            with path.open("rb") as file:
                while step := file.read(_STEP_BYTES):
                    where = f"/uploads/{upload.id}/packs/{number}"
                    digest = str(sha256_of(step))
                    api.upload(where, memoryview(step), digest=digest, meter=lambda _: None)
                    number += 1
        seconds = time.monotonic() - began
        api.send("DELETE", f"/uploads/{upload.id}")
    return seconds


if __name__ == "__main__":
    main()
