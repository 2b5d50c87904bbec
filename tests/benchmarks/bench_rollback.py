"""How long a rollback takes: `python tests/benchmarks/bench_rollback.py`.

A line with two verified versions, and a channel that is rolled back from one to the other and back
again, each time a new revision, by the Python client (two requests: what is served, and the move)
and by the installed command, a process of its own each time. The server is a real process on
loopback over SQLite and over PostgreSQL, which both wait for the disk. Then the same with the store
gone: its folder is moved away under the running server.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import sqlalchemy as sa  # only now the tests can be imported

import deltareg_migrations
from deltareg.wire import LeaseRequest
from tests.benchmarks import page
from tests.benchmarks.worker_beside import worker_beside
from tests.fixtures.databases import database, postgresql_started, server_url
from tests.fixtures.processes import Processes
from tests.fixtures.registries import SAMPLES, report

_LINE, _CHANNEL = "team/lora", "prod"
_HEAD = f"{'a rollback':<44}{'of':>5}{'p50 ms':>9}{'p95 ms':>9}{'max ms':>9}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300, help="rollbacks by the client")
    parser.add_argument("--commands", type=int, default=60, help="rollbacks by the command")
    page.add_option(parser)
    options = parser.parse_args()
    lines = [_HEAD]
    print(_HEAD)
    for name, opened in {"SQLite": in_sqlite, "PostgreSQL": in_postgresql}.items():
        with opened() as (folder, url):
            for line in measure(name, folder, url, options):
                print(line, flush=True)
                lines.append(line)
    page.write_docs(options, "rollback", "\n".join(lines))


@contextmanager
def in_sqlite():
    """Give a folder; the server makes its database there."""
    with tempfile.TemporaryDirectory(prefix="deltareg-bench-") as folder:
        yield Path(folder), None


@contextmanager
def in_postgresql():
    """Give a folder and a migrated database of a server that syncs."""
    with (
        tempfile.TemporaryDirectory(prefix="deltareg-bench-") as folder,
        postgresql_started(Path(folder) / "pg") as server,
    ):
        admin = sa.create_engine(server_url(server), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with admin.connect() as conn:
            conn.exec_driver_sql("ALTER SYSTEM SET fsync = on")
            conn.exec_driver_sql("SELECT pg_reload_conf()")
        with database(server_url(server)) as url:
            deltareg_migrations.upgrade(url)
            yield Path(folder), url


def measure(name, folder, url, options):
    """Roll back in every way, and tell of each in a line."""
    processes = Processes(folder)
    try:
        server = processes.api(database_url=url).start()
        with server.client(folder / "cache") as client:
            prepare(client)
            away = folder / "away"
            for state in ("", ", store gone"):
                if state:
                    shutil.move(server.blobs, away)
                seconds = [by_client(client, number) for number in range(options.count)]
                yield told(f"by the client, {name}{state}", seconds)
                run = [by_command(processes, server, n) for n in range(options.commands)]
                yield told(f"by the command, {name}{state}", run)
    finally:
        processes.end()


def prepare(client):
    """Push two versions and promote them, as a worker and a person would."""
    client.bases.push(SAMPLES / "bases" / "tinyllama", "tinyllama")
    with worker_beside(client) as worker:  # who pushed proves nothing
        for delta in ("lora", "lora_v2"):
            path = SAMPLES / "deltas" / "tinyllama" / delta
            ref = client.push(path, _LINE, base="tinyllama").version.ref
            client.verify(ref)
            grant = worker.lease(LeaseRequest(worker="scripted"))
            worker.complete_run(grant.run, report(grant))
            client.promote(ref, _CHANNEL)


def by_client(client, number):
    began = time.perf_counter()
    client.rollback(_LINE, _CHANNEL, version=1 + number % 2)
    return time.perf_counter() - began


def by_command(processes, server, number):
    version = str(1 + number % 2)
    began = time.perf_counter()
    running = processes.deltareg(
        "rollback", _LINE, "--channel", _CHANNEL, "--version", version, server=server.url, token=server.token
    )
    status = running.wait()
    seconds = time.perf_counter() - began
    assert status == 0, running.errors
    return seconds


def told(name, seconds):
    """Say how long it took, in the middle, in 19 of 20 cases, and at most."""
    at = statistics.quantiles(seconds, n=20, method="inclusive")
    figures = (statistics.median(seconds), at[-1], max(seconds))
    shown = "".join(f"{1000 * figure:>9.1f}" for figure in figures)
    return f"{name:<44}{len(seconds):>5}{shown}"


if __name__ == "__main__":
    main()
