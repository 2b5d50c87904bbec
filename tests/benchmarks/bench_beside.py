"""The whole of it beside a release before and beside others, in one run: `python tests/benchmarks/bench_beside.py`.

`--before CHECKOUT` names a checkout of the release before, `--mlflow PYTHON` and `--mergekit FOLDER` what has these
(the folder is that of its programs); who is not named is left out, `hf`, `cp` and peft are always there. Each registry
is a server process over a database of its own in one PostgreSQL. A row is done by all in turn, a round after the other,
each a program of its own; MLflow keeps the same files as artifacts of a run, and its aliases are what channels are.

A cell is the least seconds on the clock, and the processor time of all rounds by their number: that of the program and
what it started, of its server, and of the database.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks import beside_scripts as scripts  # only now the tests can be imported
from tests.benchmarks import page
from tests.benchmarks.bench_api import free_port, is_up
from tests.benchmarks.bench_start import changed
from tests.benchmarks.llama_files import Shape, write_base, write_lora, write_tuned
from tests.compat.releases import ROOTS
from tests.fixtures.databases import database, postgresql_started, server_url
from tests.fixtures.processes import API, Processes, until
from tests.fixtures.registries import SAMPLES
from tests.process_table import processor_s

_HERE = Path(__file__).parents[2]
_LARGE = Shape(32, hidden=1024, inner=2816, heads=16, key_heads=16)
_MANY = Shape(256, hidden=32, inner=64, heads=2, key_heads=2, vocabulary=64)


@dataclass
class Tool:
    """Somebody who does rows.

    Attributes:
        name: Its column.
        environ: What its programs run with.
        server: The process id of its server; 0 for none.
        orders: What it runs, by row.
    """

    name: str
    environ: dict[str, str]
    server: int = 0
    orders: dict[str, scripts.Order] = field(default_factory=dict)


@dataclass
class Cell:
    """What a row took somebody: seconds of each round, and processor time of all of them."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: float = 0.0

    def __str__(self):
        return f"{min(self.wall_s):.2f} s {self.cpu_s / len(self.wall_s):.2f}" if self.wall_s else "-"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="of what is short; of the rest one")
    parser.add_argument("--before", type=Path, help="a checkout of the release before")
    parser.add_argument("--mlflow", type=Path, help="a Python that has MLflow")
    parser.add_argument("--mergekit", type=Path, help="the folder of mergekit's programs")
    parser.add_argument("--only", default="", help="the rows whose name has this")
    page.add_option(parser)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="deltareg-bench-")))
        postgresql = stack.enter_context(postgresql_started(folder / "pg"))
        processes = Processes(folder)
        stack.callback(processes.end)
        bench = Bench(options, folder, processes, postgresql, stack)
        text = page.print_blocks([bench.table()])
    page.write_docs(options, "beside", text)


class Bench:
    """All tools, and the files that they are given."""

    def __init__(self, options, folder, processes, postgresql, stack):
        self.options, self.folder, self.processes = options, folder, processes
        self.postgresql, self.stack = postgresql, stack
        self.files = folder / "files"
        self.files.mkdir()
        self._write_files()
        self.tools = [*([self._registry("before", options.before.resolve())] if options.before else [])]
        self.tools.append(self._registry("now", _HERE))
        self.tools += [self._mlflow(options.mlflow)] if options.mlflow else []
        self.tools += [self._mergekit(options.mergekit)] if options.mergekit else []
        self.tools += [self._hub(), self._cp(), self._peft()]

    def table(self) -> Iterator[str]:
        """Do all rows, and tell each as it is done."""
        yield f"{'seconds, processor seconds':<34}" + "".join(f"{tool.name:>15}" for tool in self.tools)
        for row, is_long in scripts.ROWS.items():
            if self.options.only not in row:
                continue
            cells = {tool.name: Cell() for tool in self.tools}
            for number in range(1 if is_long else self.options.rounds):
                for tool in self.tools:
                    if row in tool.orders:
                        self._do(tool, tool.orders[row](number), cells[tool.name])
            yield f"{row:<34}" + "".join(f"{cells[tool.name]!s:>15}" for tool in self.tools)

    def _do(self, tool, words, cell):
        """Run a program to its end; one that measures a part of itself says so on its last line."""
        others = [pid for pid in (tool.server, self.postgresql.get_pid()) if pid]
        before = sum(map(processor_s, others))
        began = time.perf_counter()
        process = subprocess.Popen(
            words, env=tool.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.files
        )
        assert process.stdout is not None
        said = process.stdout.read().decode(errors="replace")
        process.stdout.close()
        _, status, used = os.wait4(process.pid, 0)
        took, cpu = time.perf_counter() - began, used.ru_utime + used.ru_stime
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{tool.name}: {' '.join(words)}: {said}")
        if scripts.TOOK in said:
            took, cpu = json.loads(said.rpartition(scripts.TOOK)[2].splitlines()[0])
        cell.wall_s.append(took)
        cell.cpu_s += cpu + sum(map(processor_s, others)) - before

    def _write_files(self):
        """Write bases, deltas and fine-tunes, once for all."""
        files = self.files
        shutil.copytree(SAMPLES / "bases" / "tinyllama", files / "tinyllama")
        for number in range(self.options.rounds):
            changed(files / f"small-{number}", number)
        write_base(files / "large", _LARGE)
        write_base(files / "many-base", _MANY)
        write_lora(files / "many", _MANY, base="many-base")
        for number, name in enumerate(scripts.MERGED):
            write_lora(files / f"lora-{name}", _LARGE, seed=number)
            write_tuned(files / f"tuned-{name}", _LARGE, seed=100 + number)

    def _registry(self, name, checkout):
        sources = os.pathsep.join(str(checkout / root) for root in ROOTS)
        url = self.stack.enter_context(database(server_url(self.postgresql)))
        api = self.processes.api(f"server-{name}", database_url=url, command=API, requests_per_minute=10**9)
        api._environ["PYTHONPATH"] = sources
        migrated = [sys.executable, "-m", "deltareg_migrations", "--url", url, "upgrade"]
        subprocess.run(migrated, env=api._environ, check=True, stdout=subprocess.DEVNULL)
        api.start()
        environ = self.processes.environ(
            name, DELTAREG_SERVER=api.url, DELTAREG_TOKEN=api.token, PYTHONPATH=sources, OMP_NUM_THREADS="1"
        )
        tool = Tool(name, environ, api.process.pid)
        tool.orders = scripts.of_registry(self.folder / f"{name}-out", Path(environ["XDG_CACHE_HOME"]))
        words = [sys.executable, "-c", scripts.PREPARED, str(checkout)]
        subprocess.run(words, env=environ, check=True, stdout=subprocess.DEVNULL, cwd=self.files)
        return tool

    def _mlflow(self, python):
        url = self.stack.enter_context(database(server_url(self.postgresql)))
        place = self.folder / "mlflow"
        place.mkdir()
        port = free_port()
        environ = {
            **self.processes.environ("mlflow-home"),
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
            "GIT_PYTHON_REFRESH": "quiet",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        }
        words = [python, "-m", "mlflow", "server", "--backend-store-uri", url.replace("+psycopg", "+psycopg2")]
        words += ["--port", str(port), "--workers", "1", "--artifacts-destination", str(place), "--serve-artifacts"]
        with (self.folder / "mlflow.log").open("wb") as log:
            process = subprocess.Popen(list(map(str, words)), env=environ, stdout=log, stderr=log, cwd=place)
        self.stack.callback(process.wait)
        self.stack.callback(process.terminate)
        until(lambda: is_up(environ["MLFLOW_TRACKING_URI"], process), "MLflow answers", timeout_s=180, pause_s=0.5)
        made = subprocess.run(
            [python, "-c", scripts.MLFLOW_MADE], env=environ, check=True, capture_output=True, text=True
        )
        orders = scripts.of_mlflow(python, made.stdout.split()[-1], self.folder / "mlflow-out")
        return Tool("MLflow", environ, process.pid, orders)

    def _mergekit(self, programs):
        config = self.folder / "merge.yaml"
        config.write_text(scripts.mergekit_recipe(self.files))
        words = [str(programs / "mergekit-yaml"), str(config), str(self.folder / "mergekit-out")]
        orders = {scripts.MERGE: lambda _: [*words, "--lazy-unpickle", "--no-copy-tokenizer", "--quiet"]}
        environ = self.processes.environ("mergekit-home", OMP_NUM_THREADS="1")
        return Tool("mergekit", environ | {"PYTHONPATH": ""}, 0, orders)

    def _hub(self):
        now = next(tool for tool in self.tools if tool.name == "now")
        environ = self.processes.environ(
            "hf", HF_ENDPOINT=now.environ["DELTAREG_SERVER"], HF_TOKEN=now.environ["DELTAREG_TOKEN"], HF_HUB_OFFLINE="0"
        )
        return Tool("hf", environ, now.server, scripts.of_hub(self.folder / "hf-out", Path(environ["HOME"])))

    def _cp(self):
        return Tool("cp", dict(os.environ), 0, scripts.of_cp(self.folder / "cp-out"))

    def _peft(self):
        environ = self.processes.environ("peft-home", OMP_NUM_THREADS="1")
        orders = {scripts.MERGE_LORAS: lambda _: [sys.executable, "-c", scripts.PEFT, str(self.folder / "peft-out")]}
        return Tool("peft", environ, 0, orders)


if __name__ == "__main__":
    main()
