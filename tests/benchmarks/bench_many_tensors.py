"""What a version of many tensors costs: `python tests/benchmarks/bench_many_tensors.py`.

A LoRA of rank 16 on a Llama with as many layers as it takes: some 100 to 40,000 tensors of a few kilobytes. Each step
is a command of its own against a server on loopback, SQLite and a folder: a first push, the push of the next
checkpoint (every value another one, the first at hand), the proof of both by a worker, a pull on a machine that has
the base alone, a comparison, and `show`. Of each is told: the seconds, and the peak of its memory; of the server its
peak of all steps.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks import llama_files, page  # only now the tests can be imported
from tests.benchmarks.bench_prove import settled
from tests.benchmarks.worker_beside import worker_process
from tests.fixtures.processes import Processes

_COUNTS = (100, 1_000, 10_000, 40_000)
_A_LAYER = 2 * len(llama_files.LINEAR)
_SMALL = {"hidden": 32, "inner": 64, "heads": 2, "key_heads": 2, "vocabulary": 64}
_STEPS = ("push", "next push", "proof", "pull", "diff", "show")
_CELL = 17


@dataclass
class Cost:
    """What a step took."""

    seconds: float = 0.0
    peak_bytes: int = 0

    def __str__(self):
        return f"{self.seconds:.2f} s {self.peak_bytes / 1e6:.0f} MB"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tensors", type=int, nargs="+", default=_COUNTS)
    parser.add_argument("--steps", nargs="+", choices=_STEPS, default=_STEPS)
    page.add_option(parser)
    options = parser.parse_args()
    lines = [f"{'tensors':>8}" + "".join(f"{name:>{_CELL}}" for name in (*_STEPS, "server"))]
    print(lines[0], flush=True)
    for count in options.tensors:
        folder = Path(tempfile.mkdtemp(prefix="deltareg-bench-"))
        try:
            layers = max(1, round(count / _A_LAYER))
            costs = measure(folder, layers, options.steps)
        finally:
            shutil.rmtree(folder)
        lines.append(
            f"{layers * _A_LAYER:>8,}" + "".join(f"{costs.get(name, '-')!s:>{_CELL}}" for name in (*_STEPS, "server"))
        )
        print(lines[-1], flush=True)
    page.write_docs(options, "many tensors", "\n".join(lines))


def measure(folder, layers, steps):
    """Take the steps with a LoRA on so many layers; gives their costs by name."""
    shape = llama_files.Shape(layers, **_SMALL)
    base = llama_files.write_base(folder / "base", shape)
    first, after = (llama_files.write_lora(folder / f"v{n}", shape, seed=n) for n in (1, 2))
    processes = Processes(folder)
    costs = {}
    try:
        server = processes.api().start()

        def run(name, *words, home="user"):
            if name in steps:
                costs[name] = command(processes, server, home, *words)

        command(processes, server, "user", "base", "register", base, "base")
        command(processes, server, "other", "base", "register", base, "base")
        run("push", "push", first, "team/many", "--base", "base")
        run("next push", "push", after, "team/many", "--base", "base")
        if "proof" in steps:
            with server.client(folder / "cache") as client:
                costs["proof"] = proof(client, server, folder)
        run("pull", "pull", "team/many:v2", "--to", folder / "out", home="other")
        run("diff", "diff", "team/many:v1", "team/many:v2")
        run("show", "show", "team/many:v2")
        costs["server"] = f"{peak_of(server.process.pid) / 1e6:.0f} MB"
    finally:
        processes.end()
    return costs


def command(processes, server, home, *words):
    """Run a command to its end."""
    program = Path(sys.executable).with_name("deltareg")
    environ = processes.environ(home, DELTAREG_SERVER=server.url, DELTAREG_TOKEN=server.token)
    cost, began = Cost(), time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        started = subprocess.Popen(
            [program, *map(str, words)], env=environ, stdout=subprocess.DEVNULL, stderr=errors, cwd=processes.folder
        )
        while started.poll() is None:
            cost.peak_bytes = max(cost.peak_bytes, peak_of(started.pid))
            time.sleep(0.005)
        cost.seconds = time.perf_counter() - began
        if started.returncode:
            errors.seek(0)
            raise SystemExit(f"{' '.join(map(str, words))}: {errors.read()}")
    return cost


def proof(client, server, folder):
    """Have a worker prove both versions, from when it asks for work."""
    cost = Cost()
    with worker_process(client, server, folder, "--only", "prove") as worker:
        began = time.perf_counter()
        for number in (1, 2):
            settled(lambda number=number: client.show(f"team/many:v{number}").proof)
        cost.seconds, cost.peak_bytes = time.perf_counter() - began, peak_of(worker.pid)
    return cost


def peak_of(pid):
    """Give the most memory that a process has had, files that it maps included; 0 once it has ended."""
    with suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        return int(found[1]) << 10 if found else 0
    return 0


if __name__ == "__main__":
    main()
