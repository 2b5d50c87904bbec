"""What the server spends on a request: `python tests/benchmarks/bench_api.py`.

A real server process on loopback with a LoRA of 224 tensors and golden outputs on `prod`, over SQLite and over
PostgreSQL, which wait for the disk. Clients with a connection each ask `/livez`, resolve the
channel whole and slim, and ask whether an answer they have still holds; the server's CPU seconds
are those that the kernel counts for it. Then pushes of such LoRAs, each another. MLflow's server
beside it answers what its models' aliases point to, without any check of who asks, from SQLite and
from PostgreSQL: `--mlflow PYTHON` names an interpreter that has it; without one it is left out.
`--beside CHECKOUT` asks the server of another checkout the same, in turn with this one's: only so
two releases are told apart on a machine whose speed changes within minutes.
"""

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).parents[2]))

import httpx  # only now the tests can be imported
import numpy as np
import sqlalchemy as sa
from safetensors.numpy import save_file

import deltareg_migrations
from deltareg.wire import LeaseRequest
from tests.benchmarks import page
from tests.benchmarks.llama_files import Shape, write_base
from tests.benchmarks.worker_beside import worker_beside
from tests.fixtures.databases import database, postgresql_started, server_url
from tests.fixtures.processes import API, Processes, until
from tests.fixtures.registries import report
from tests.process_table import processes_below

_LINE, _CHANNEL = "team/lora", "prod"
_SHAPE = Shape(layers=16, hidden=256, inner=256, heads=8, key_heads=8, vocabulary=512)
_RANK = 4
_LIMITS = {"requests_per_minute": 1_000_000_000}  # counted, and never enough
_SOURCES = ("registry", "cli", "gpu_verify", "migrations")
_HEAD = f"{'':<40}{'a second':>10}{'CPU ms':>9}{'x /livez':>10}"
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_MLFLOW = """
import sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
client.create_registered_model("lora")
client.create_model_version("lora", source="s3://models/lora")
client.set_registered_model_alias("lora", "prod", 1)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, help="how often each is asked")
    parser.add_argument("--moment", type=float, default=1.0, help="seconds that each round asks")
    parser.add_argument("--clients", type=int, default=4, help="connections that ask at once")
    parser.add_argument("--pushes", type=int, default=12, help="how many LoRAs are pushed")
    parser.add_argument("--mlflow", help="a Python that has mlflow; this one by default")
    parser.add_argument("--beside", type=Path, metavar="CHECKOUT", help="another checkout, whose server is asked, too")
    page.add_option(parser)
    options = parser.parse_args()
    blocks = []
    for name, opened in {"SQLite": in_sqlite, "PostgreSQL": in_postgresql}.items():
        with opened() as (folder, *databases):
            block = [f"{name}\n{_HEAD}"]
            print(block[0], flush=True)
            for line in lines(folder, databases, options):
                print(line, flush=True)
                block.append(line)
        blocks.append("\n".join(block))
    page.write_docs(options, "api", "\n\n".join(blocks))


@contextmanager
def in_sqlite():
    """Give a folder, where servers make their databases, and a URL for MLflow's."""
    with tempfile.TemporaryDirectory(prefix="deltareg-bench-") as folder:
        yield Path(folder), None, None, f"sqlite:///{folder}/mlflow.db"


@contextmanager
def in_postgresql():
    """Give a folder, and databases of a server that syncs: a migrated one, and two that are empty."""
    with (
        tempfile.TemporaryDirectory(prefix="deltareg-bench-") as folder,
        postgresql_started(Path(folder) / "pg") as server,
    ):
        admin = sa.create_engine(server_url(server), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with admin.connect() as conn:
            conn.exec_driver_sql("ALTER SYSTEM SET fsync = on")
            conn.exec_driver_sql("SELECT pg_reload_conf()")
        new = partial(database, server_url(server))
        with new() as url, new() as beside, new() as theirs:
            deltareg_migrations.upgrade(url)
            yield Path(folder), url, beside, theirs.replace("+psycopg", "+psycopg2")


def lines(folder, databases, options):
    """Push, then ask all servers in turn; tell of each in a line."""
    url, beside, other = databases
    processes = Processes(folder)
    try:
        server, pushed_ms = prepared(processes.api(database_url=url, **_LIMITS), options.pushes)
        asked = ours(server)
        if options.beside:
            older, _ = prepared(checked_out(processes, options.beside, beside), options.pushes)
            asked |= {f"{options.beside.name}: {name}": each for name, each in ours(older).items()}
        with mlflow_started(options.mlflow, other, folder) as theirs:
            asked |= theirs
            yield from told(in_turn(asked, options))
        if not theirs:
            yield "MLflow  not installed: mlflow"
        yield f"{'push of a 1.8 MB LoRA':<40}{'':>10}{pushed_ms:>9.1f}"
    finally:
        processes.end()


def prepared(server, count):
    """Start a server and give it what it is asked for; return it, and the CPU of a push, in ms."""
    server.start()
    folder = server.data_dir.parent / "client"
    folder.mkdir()
    with server.client(folder / "cache") as client:
        pushed_ms = pushes(client, folder, count, server.process.pid)
        promote(client)
    return server, pushed_ms


def checked_out(processes, checkout, url):
    """Prepare the server of another checkout, over a database that it migrates itself."""
    paths = ":".join(str(checkout.resolve() / part) for part in _SOURCES)
    server = processes.api("beside", database_url=url, command=("env", f"PYTHONPATH={paths}", *API), **_LIMITS)
    if url is not None:
        migrate = f"import deltareg_migrations; deltareg_migrations.upgrade({url!r})"
        subprocess.run([sys.executable, "-c", migrate], check=True, env=os.environ | {"PYTHONPATH": paths})
    return server


def ours(server):
    """Give what this project's server is asked, by name."""
    bearer = {"Authorization": f"Bearer {server.token}"}
    path = f"/api/v1/resolve?ref={quote(f'{_LINE}@{_CHANNEL}')}"
    tag = httpx.get(server.url + path, headers=bearer).headers["ETag"]
    pid = server.process.pid
    return {
        "/livez": Question(server.port, "/livez", {}, pid),
        "resolve by channel, whole": Question(server.port, path, bearer, pid),
        "resolve by channel, slim": Question(server.port, f"{path}&slim=true", bearer, pid),
        "resolve by channel, 304": Question(server.port, path, bearer | {"If-None-Match": tag}, pid),
    }


def in_turn(asked, options):
    """Ask each for a moment, again and again, so that what else the machine does hits all alike."""
    found = {name: Asked() for name in asked}
    for number in range(options.rounds + 1):
        for name, question in asked.items():
            done = ask(question, options)
            if number:  # the first round warms up
                found[name] += done
    return found


def told(found):
    """Say how often each was answered in a second, and what that cost."""
    live_ms = found["/livez"].cpu_ms
    for name, each in found.items():
        yield f"{name:<40}{each.rate:>10.0f}{each.cpu_ms:>9.2f}{each.cpu_ms / live_ms:>10.1f}"


def pushes(client, folder, count, pid):
    """Push LoRAs, the first two uncounted, and give the server's CPU of one, in ms."""
    write_base(folder / "base", _SHAPE)
    client.bases.push(folder / "base", "llama")
    began = 0.0
    for number in range(count + 2):
        write_lora(folder / f"lora{number}", seed=number)
        if number == 2:
            began = cpu_s(pid)
        golden = None if number else write_golden(folder / "golden.safetensors")  # the one that is resolved has some
        client.push(folder / f"lora{number}", _LINE, base="llama", golden=golden)
    return 1000 * (cpu_s(pid) - began) / count


def promote(client):
    """Promote the first version, as a worker and a person would."""
    client.verify(f"{_LINE}:v1")
    worker = worker_beside(client)  # who pushed proves nothing
    while (grant := worker.lease(LeaseRequest(worker="scripted"))) is not None:
        worker.complete_run(grant.run, report(grant))
    client.promote(f"{_LINE}:v1", _CHANNEL)


def write_golden(path):
    """Write golden outputs as a training script saves them: logits of two texts of 16 tokens."""
    draw = np.random.default_rng(0)
    tensors: dict[str, np.ndarray] = {
        "inputs.input_ids": draw.integers(0, _SHAPE.vocabulary, (2, 16)),
        "outputs.logits": draw.normal(0, 1, (2, 16, _SHAPE.vocabulary)).astype(np.float32),
    }
    save_file(tensors, path)
    return path


def write_lora(folder, *, seed):
    """Write an adapter of 224 tensors, 1.8 MB of float32."""
    folder.mkdir()
    draw = np.random.default_rng(seed)
    tensors = {}
    for name, (rows, columns) in _SHAPE.linear().items():
        prefix = f"base_model.model.{name}"
        shapes = {"lora_A": (2 * _RANK, columns), "lora_B": (rows, 2 * _RANK)}
        for side, shape in shapes.items():
            tensors[f"{prefix}.{side}.weight"] = draw.normal(0, 0.02, shape).astype(np.float32)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": 2 * _RANK,
        "lora_alpha": 16,
        "lora_dropout": 0.0,
        "bias": "none",
        "base_model_name_or_path": "llama",
        "target_modules": sorted({name.rpartition(".")[2] for name in _SHAPE.linear()}),
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))


@contextmanager
def mlflow_started(python, url, folder):
    """Run MLflow's server with one process that answers; give what it is asked, if it is there."""
    if python is None and find_spec("mlflow") is None:
        yield {}
        return
    python, port = python or sys.executable, free_port()
    command = [
        python,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        url,
        "--port",
        str(port),
        "--workers",
        "1",
        "--default-artifact-root",
        str(folder / "artifacts"),
    ]
    with (folder / "mlflow.log").open("wb") as log:
        process = subprocess.Popen(  # named by who runs the benchmark
            command, stdout=log, stderr=log, start_new_session=True, cwd=folder
        )
        try:
            address = f"http://127.0.0.1:{port}"
            until(lambda: is_up(address, process), "MLflow answers", timeout_s=180, pause_s=0.5)
            subprocess.run([python, "-c", _MLFLOW, address], check=True, stdout=log, stderr=log)
            path = "/api/2.0/mlflow/registered-models/alias?name=lora&alias=prod"
            yield {"MLflow, alias to version": Question(port, path, {}, process.pid)}
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def is_up(address, process):
    assert process.poll() is None, "MLflow's server ended"
    try:
        return httpx.get(address + "/health").is_success
    except httpx.HTTPError:
        return False


@dataclass(frozen=True)
class Question:
    """What a server is asked, and the process whose CPU that takes."""

    port: int
    path: str
    headers: dict[str, str]
    pid: int

    @property
    def request(self):
        told = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        head = f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
        return f"{head}{told}\r\n".encode()


@dataclass(frozen=True)
class Asked:
    """How a server did."""

    answers: int = 0
    seconds: float = 0
    cpu_s: float = 0

    def __add__(self, other):
        return Asked(self.answers + other.answers, self.seconds + other.seconds, self.cpu_s + other.cpu_s)

    @property
    def rate(self):
        return self.answers / self.seconds

    @property
    def cpu_ms(self):
        return 1000 * self.cpu_s / self.answers


def ask(question, options):
    """Ask one thing over several connections at once, as fast as the answers come."""
    worked, began = cpu_s(question.pid), time.monotonic()
    answers = ask_for(options.moment, question.port, question.request, options.clients)
    return Asked(answers, time.monotonic() - began, cpu_s(question.pid) - worked)


def ask_for(seconds, port, request, clients):
    """Ask for so long; give how many answers came."""
    counts, until_s = [0] * clients, time.monotonic() + seconds
    asking = [
        threading.Thread(target=keep_asking, args=(port, request, until_s, counts, number)) for number in range(clients)
    ]
    for each in asking:
        each.start()
    for each in asking:
        each.join()
    return sum(counts)


_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


def keep_asking(port, request, until_s, counts, number):
    """Send a request again and again; a status other than 200 and 304 ends the benchmark."""
    done = 0
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while time.monotonic() < until_s:
            connection.sendall(request)
            answer = connection.recv(1 << 16)
            head, _, body = answer.partition(b"\r\n\r\n")
            length = _LENGTH.search(head)
            missing = (int(length[1]) if length else 0) - len(body)
            while missing > 0:
                missing -= len(connection.recv(1 << 16))
            if not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 304")):
                raise SystemExit(answer.decode(errors="replace"))
            done += 1
    counts[number] = done


def cpu_s(pid):
    """Add up the CPU seconds of a process and of all that it started."""
    return sum(_own_cpu_s(each) for each in [pid, *processes_below(pid)])


def _own_cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


if __name__ == "__main__":
    main()
