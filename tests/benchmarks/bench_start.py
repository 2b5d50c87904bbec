"""What a short command costs, of which most is its start: `python tests/benchmarks/bench_start.py`.

Each command is a program of its own, each time, in turn with the others, against one server process
over SQLite with one LoRA of 25 kB. `hf` is the hub's own command line against the same server: it
pulls the same version. A first push fingerprints its base; the next ones find that in the cache.
`--beside CHECKOUT` runs the commands of another checkout in turn with this one's.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np  # only now the tests can be imported
from safetensors.numpy import load_file, save_file

from tests.benchmarks import page
from tests.benchmarks.bench_rollback import prepare
from tests.compat.releases import ROOTS
from tests.fixtures.processes import Processes
from tests.fixtures.registries import SAMPLES

_LORA = SAMPLES / "deltas" / "tinyllama" / "lora"
_LINE = "team/lora"
_HEAD = f"{'':<40}{'of':>4}{'CPU ms':>9}{'median':>9}{'s least':>9}{'median':>9}"


@dataclass
class Command:
    """A command, as often as it was run.

    Attributes:
        words: What is run; a function prepares what is run each time by its number.
        environ: What it is run with.
        cpu_s: Processor time of it and of what it started.
    """

    words: Callable[[int], list[str]]
    environ: dict[str, str]
    cpu_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)

    def run(self, number):
        words = self.words(number)
        began = time.perf_counter()
        process = subprocess.Popen(words, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert process.stdout is not None
        said = process.stdout.read().decode(errors="replace")
        _, status, used = os.wait4(process.pid, 0)
        self.wall_s.append(time.perf_counter() - began)
        process.stdout.close()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(words)}: {said}")
        self.cpu_s.append(used.ru_utime + used.ru_stime)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--beside", type=Path, metavar="CHECKOUT", help="another checkout, whose commands are run too")
    page.add_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="deltareg-bench-") as folder:
        text = page.print_blocks([table(Path(folder), options)])
    page.write_docs(options, "start", text)


def table(folder, options):
    """Run all commands in turn, and tell what each took."""
    processes = Processes(folder)
    try:
        server = processes.api().start()
        with server.client(folder / "cache") as client:
            prepare(client)
        named = commands(processes, server, "", Path(__file__).parents[2])
        if options.beside:
            named |= commands(processes, server, f"{options.beside.name}: ", options.beside.resolve())
        named |= hub_commands(processes, server)
        for number in range(options.rounds):
            for command in named.values():
                command.run(number)
    finally:
        processes.end()
    yield _HEAD
    for name, command in named.items():
        cpu, wall = (f"{1000 * at(command.cpu_s):>9.0f}" for at in (min, statistics.median)), command.wall_s
        seconds = f"{min(wall):>9.3f}{statistics.median(wall):>9.3f}"
        yield f"{name:<40}{len(wall):>4}{''.join(cpu)}{seconds}"


def commands(processes, server, prefix, checkout):
    """Give the commands of a checkout, under names that begin with a prefix."""
    environ = processes.environ(
        "beside" if prefix else "user",
        DELTAREG_SERVER=server.url,
        DELTAREG_TOKEN=server.token,
        PYTHONPATH=os.pathsep.join(str(checkout / root) for root in ROOTS),
    )
    folder = processes.folder / ("beside-files" if prefix else "files")
    folder.mkdir()
    cache = Path(environ["XDG_CACHE_HOME"])

    def run(*words):
        return [sys.executable, "-m", "deltareg_cli", *words]

    def push(number):
        return run("push", str(changed(folder / f"lora-{number}", number)), _LINE, "--base", "tinyllama")

    def first_push(number):
        shutil.rmtree(cache, ignore_errors=True)
        return push(1000 + number)

    def pull(number):
        shutil.rmtree(cache, ignore_errors=True)
        return run("pull", f"{_LINE}@prod", "--to", str(folder / f"pulled-{number}"))

    calls = {
        "--help": lambda _: run("--help"),
        "ls --help": lambda _: run("ls", "--help"),
        "ls": lambda _: run("ls"),
        "channel show": lambda _: run("channel", "show", f"{_LINE}@prod"),
        "first push of 25 kB": first_push,
        "push of 25 kB": push,
        "pull of 25 kB, nothing cached": pull,
    }
    return {f"{prefix}{what}": Command(words, environ) for what, words in calls.items()}


def hub_commands(processes, server):
    """Give the hub's own commands that do the same."""
    program = shutil.which("hf", path=str(Path(sys.executable).parent))
    if program is None:
        return {}
    environ = processes.environ("hf", HF_ENDPOINT=server.url, HF_TOKEN=server.token) | {"HF_HUB_OFFLINE": "0"}

    def pull(number):
        shutil.rmtree(Path(environ["HOME"]) / ".cache", ignore_errors=True)
        shutil.rmtree(environ["XDG_CACHE_HOME"], ignore_errors=True)
        into = processes.folder / f"hf-pulled-{number}"
        return [program, "download", _LINE, "--revision", "prod", "--local-dir", str(into)]

    calls = {"--help": lambda _: [program, "--help"], "download of the same": pull}
    return {f"hf {what}": Command(words, environ) for what, words in calls.items()}


def changed(folder, number):
    """Write a LoRA whose bytes nobody has seen."""
    shutil.copytree(_LORA, folder)
    path = folder / "adapter_model.safetensors"
    random = np.random.default_rng(number)
    tensors = load_file(path)
    drawn = {name: random.normal(0, 0.02, value.shape).astype(value.dtype) for name, value in tensors.items()}
    save_file(drawn, path, {"format": "pt"})
    return folder


if __name__ == "__main__":
    main()
