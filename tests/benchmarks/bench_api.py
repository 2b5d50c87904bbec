"""What the server spends on a request: `python tests/benchmarks/bench_api.py`.

A real server process on loopback with a LoRA of 224 tensors on `prod`, over SQLite and over
PostgreSQL, which wait for the disk. Clients with a connection each ask `/livez`, resolve the
channel whole and slim, and ask whether an answer they have still holds; the server's CPU seconds
are those that the kernel counts for it. Then pushes of such LoRAs, each another. MLflow's server
beside it answers what its models' aliases point to, without any check of who asks, from SQLite and
from PostgreSQL: `--mlflow PYTHON` names an interpreter that has it; without one it is left out.
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
from tests.benchmarks.llama_files import Shape, write_base
from tests.benchmarks.page import write_page
from tests.fixtures.databases import database, postgresql_started, server_url
from tests.fixtures.processes import Processes, until
from tests.fixtures.registries import report

_PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
_LINE, _CHANNEL = "team/lora", "prod"
_SHAPE = Shape(layers=16, hidden=256, inner=256, heads=8, key_heads=8, vocabulary=512)
_RANK = 4
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
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each is asked")
    parser.add_argument("--clients", type=int, default=4, help="connections that ask at once")
    parser.add_argument("--pushes", type=int, default=12, help="how many LoRAs are pushed")
    parser.add_argument("--mlflow", help="a Python that has mlflow; this one by default")
    parser.add_argument("--write-docs", action="store_true", help="put the tables in the docs")
    options = parser.parse_args()
    blocks = []
    for name, opened in {"SQLite": in_sqlite, "PostgreSQL": in_postgresql}.items():
        with opened() as (folder, url, other):
            lines = [f"{name}\n{_HEAD}"]
            print(lines[0], flush=True)
            for line in (*ours(folder, url, options), *mlflow(folder, other, options)):
                print(line, flush=True)
                lines.append(line)
        blocks.append("\n".join(lines))
    if options.write_docs:
        write_page(_PAGE, "api", "\n\n".join(blocks))


@contextmanager
def in_sqlite():
    """Give a folder, where the server makes its database, and a URL for MLflow's."""
    with tempfile.TemporaryDirectory(prefix="deltareg-bench-") as folder:
        yield Path(folder), None, f"sqlite:///{folder}/mlflow.db"


@contextmanager
def in_postgresql():
    """Give a folder, a migrated database of a server that syncs, and another one for MLflow."""
    with (
        tempfile.TemporaryDirectory(prefix="deltareg-bench-") as folder,
        postgresql_started(Path(folder) / "pg") as server,
    ):
        admin = sa.create_engine(
            server_url(server), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
        )
        with admin.connect() as conn:
            conn.exec_driver_sql("ALTER SYSTEM SET fsync = on")
            conn.exec_driver_sql("SELECT pg_reload_conf()")
        with database(server_url(server)) as url, database(server_url(server)) as other:
            deltareg_migrations.upgrade(url)
            yield Path(folder), url, other.replace("+psycopg", "+psycopg2")


def ours(folder, url, options):
    """Ask this project's server in each way, then push; tell of each in a line."""
    processes = Processes(folder)
    try:
        server = processes.api(database_url=url).start()
        pid = server.process.pid
        with server.client(folder / "cache") as client:
            pushed_ms = pushes(client, folder, options.pushes, pid)
            promote(client)
        path = f"/api/v1/resolve?ref={quote(f'{_LINE}@{_CHANNEL}')}"
        tag = httpx.get(server.url + path, headers=bearer(server)).headers["ETag"]
        asked = {
            "/livez": ("/livez", {}),
            "resolve by channel, whole": (path, bearer(server)),
            "resolve by channel, slim": (f"{path}&slim=true", bearer(server)),
            "resolve by channel, 304": (path, bearer(server) | {"If-None-Match": tag}),
        }
        live_ms = 0.0
        for name, (target, headers) in asked.items():
            found = ask(server.port, target, headers, pids=[pid], options=options)
            live_ms = live_ms or found.cpu_ms
            yield told(name, found) + f"{found.cpu_ms / live_ms:>10.1f}"
        yield f"{'push of a 1.8 MB LoRA':<40}{'':>10}{pushed_ms:>9.1f}"
    finally:
        processes.end()


def pushes(client, folder, count, pid):
    """Push LoRAs, the first two uncounted, and give the server's CPU of one, in ms."""
    write_base(folder / "base", _SHAPE)
    client.bases.push(folder / "base", "llama")
    began = 0.0
    for number in range(count + 2):
        write_lora(folder / f"lora{number}", seed=number)
        if number == 2:
            began = cpu_s([pid])
        client.push(folder / f"lora{number}", _LINE, base="llama")
    return 1000 * (cpu_s([pid]) - began) / count


def promote(client):
    """Promote the first version, as a worker and a person would."""
    client.verify(f"{_LINE}:v1")
    while (grant := client.lease(LeaseRequest(worker="scripted"))) is not None:
        client.complete_run(grant.run, report(grant))
    client.promote(f"{_LINE}:v1", _CHANNEL)


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
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2 * _RANK, "lora_alpha": 16,
        "lora_dropout": 0.0, "bias": "none", "base_model_name_or_path": "llama",
        "target_modules": sorted({name.rpartition(".")[2] for name in _SHAPE.linear()}),
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))


def mlflow(folder, url, options):
    """Ask MLflow's server, if there is one, to what its alias points."""
    python = options.mlflow or sys.executable
    if options.mlflow is None and find_spec("mlflow") is None:
        yield "MLflow  not installed: mlflow"
        return
    with mlflow_started(python, url, folder) as (port, pid):
        path = "/api/2.0/mlflow/registered-models/alias?name=lora&alias=prod"
        found = ask(port, path, {}, pids=[pid], options=options)
        yield told("MLflow, alias to version", found)


@contextmanager
def mlflow_started(python, url, folder):
    """Run MLflow's server with one process that answers; give its port and the process to watch."""
    port = free_port()
    command = [
        python, "-m", "mlflow", "server", "--backend-store-uri", url, "--port", str(port),
        "--workers", "1", "--default-artifact-root", str(folder / "artifacts"),
    ]  # fmt: skip
    with (folder / "mlflow.log").open("wb") as log:
        process = subprocess.Popen(  # named by who runs the benchmark
            command, stdout=log, stderr=log, start_new_session=True, cwd=folder
        )
        try:
            address = f"http://127.0.0.1:{port}"
            until(lambda: is_up(address, process), "MLflow answers", timeout_s=180, pause_s=0.5)
            subprocess.run([python, "-c", _MLFLOW, address], check=True, stdout=log, stderr=log)
            yield port, process.pid
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
class Asked:
    """How a server did: answers a second, and its CPU for each."""

    rate: float
    cpu_ms: float


def ask(port, path, headers, *, pids, options):
    """Ask one thing over several connections at once, as fast as the answers come."""
    told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{told}\r\n".encode()
    ask_for(1.0, port, request, options.clients)  # the first ones warm up
    worked, began = cpu_s(pids), time.monotonic()
    total = ask_for(options.seconds, port, request, options.clients)
    spent, elapsed = cpu_s(pids) - worked, time.monotonic() - began
    return Asked(total / elapsed, 1000 * spent / max(total, 1))


def ask_for(seconds, port, request, clients):
    """Ask for so long; give how many answers came."""
    counts, until_s = [0] * clients, time.monotonic() + seconds
    asking = [
        threading.Thread(target=keep_asking, args=(port, request, until_s, counts, number))
        for number in range(clients)
    ]
    for each in asking:
        each.start()
    for each in asking:
        each.join()
    return sum(counts)


def told(name, found):
    return f"{name:<40}{found.rate:>10.0f}{found.cpu_ms:>9.2f}"


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


def cpu_s(pids):
    """Add up the CPU seconds of processes and of all that they started."""
    return sum(_own_cpu_s(pid) for pid in {each for pid in pids for each in _family(pid)})


def _family(pid):
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _family(int(child))


def _own_cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def bearer(server):
    return {"Authorization": f"Bearer {server.token}"}


if __name__ == "__main__":
    main()
