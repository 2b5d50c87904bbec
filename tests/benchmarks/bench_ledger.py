"""Moves on a long ledger: `python tests/benchmarks/bench_ledger.py`.

A line of 100,000 versions, each with its verdict and each once served by `prod`, in SQLite on disk
and in PostgreSQL that syncs. Measured are the use cases themselves, in this process and without
HTTP: rollbacks one step back and to the version in the middle, each a new revision, the readiness
of the channel, the channel as it is shown, and pages of verdicts. The last column is the processor
time of this process, in the middle, which other work on the machine leaves as it is.
"""

import argparse
import statistics
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import sqlalchemy as sa  # only now the tests can be imported

import deltareg_migrations
from deltareg.db import tables as t
from deltareg.db.session import create_engine, read, write
from deltareg.digest import sha256_of
from deltareg.refs import LineRef, Ref
from deltareg.service.channels.channels import create_channel, show_channel
from deltareg.service.channels.move import move_channel
from deltareg.service.channels.readiness import show_readiness
from deltareg.service.registry import Registry
from deltareg.service.runs.kinds.verify import complete_run
from deltareg.service.runs.runs import queue_run
from deltareg.service.verdicts.verdicts import list_verdicts
from deltareg.store.memory import MemoryStore
from deltareg.wire import ChannelMove, RunCreate
from tests.benchmarks import page
from tests.benchmarks.bench_rollback import in_postgresql, told
from tests.fixtures.databases import take_statistics
from tests.service import rows, work

_LINE, _CHANNEL = LineRef("lab", "x"), "prod"
_CHUNK = 5_000
_HEAD = f"{'versions: {:,}':<44}{'of':>5}{'p50 ms':>9}{'p95 ms':>9}{'max ms':>9}{'cpu ms':>9}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--versions", type=int, default=100_000)
    parser.add_argument("--count", type=int, default=200, help="how often each is done")
    page.add_option(parser)
    options = parser.parse_args()
    lines = [_HEAD.format(options.versions)]
    print(lines[0])
    for name, opened in {"SQLite": in_sqlite, "PostgreSQL": in_postgresql}.items():
        with opened() as (_, url):
            engine = create_engine(url)
            for line in measure(name, engine, options):
                print(line, flush=True)
                lines.append(line)
            engine.dispose()
    page.write_docs(options, "ledger", "\n".join(lines))


@contextmanager
def in_sqlite():
    """Give a folder and a migrated database in it."""
    with tempfile.TemporaryDirectory(prefix="deltareg-bench-") as folder:
        url = f"sqlite:///{folder}/registry.db"
        deltareg_migrations.upgrade(url)
        yield Path(folder), url


def measure(name, engine, options):
    """Fill a database, and tell in a line each how long things take."""
    registry, ada = begun(engine)
    fill(engine, options.versions)
    middle = options.versions // 2
    asked = (registry, ada, _LINE, _CHANNEL)
    for told_as, act, undo in (
        ("a rollback by one step", lambda: rolled(registry, ada), True),
        (
            "a rollback to the version in the middle",
            lambda: rolled(registry, ada, version=middle, break_glass=True, reason="x"),
            True,
        ),
        ("readiness of a rollback", lambda: show_readiness(*asked), False),
        ("the channel, shown", lambda: show_channel(*asked, at=None), False),
        ("a page of verdicts", lambda: verdicts(registry, ada), False),
        ("a page of verdicts of a suite", lambda: verdicts(registry, ada, suite="smoke"), False),
        ("the verdicts of a version", lambda: verdicts(registry, ada, ref=Ref.parse(f"{_LINE}:v{middle}")), False),
    ):
        seconds, worked = [], []
        for _ in range(options.count):
            began, busy = time.perf_counter(), time.process_time()
            act()
            seconds.append(time.perf_counter() - began)
            worked.append(time.process_time() - busy)
            if undo:
                promoted_again(registry, ada, options.versions)
        cpu = f"{1000 * statistics.median(worked):>9.1f}"
        yield told(f"{told_as}, {name}", seconds) + cpu


def verdicts(registry, ada, *, ref=None, suite=None):
    return list_verdicts(registry, ada, ref, suite=suite, cursor=None, limit=50)


def rolled(registry, ada, **move):
    moved(registry, ada, kind="rollback", **move)


def promoted_again(registry, ada, number):
    """Serve the newest version once more: a rollback has quarantined it, so by broken glass."""
    moved(registry, ada, kind="promote", version=number, break_glass=True, reason="again")


def moved(registry, ada, **move):
    seen = show_channel(registry, ada, _LINE, _CHANNEL, at=None).revision
    move_channel(registry, ada, _LINE, _CHANNEL, ChannelMove(**move), seen=seen)


def begun(engine):
    """Make a line with one version that was verified and promoted, as it should be."""
    rows.base(engine)
    registry = Registry(engine, MemoryStore())
    scopes = rows.ALL_SCOPES | {"break-glass"}
    ada = rows.caller(engine, scopes=scopes)
    worker = rows.caller(engine, "gpu-1", kind="worker", scopes={"read", "verify"})
    rows.version(engine, rows.line(engine, maker=ada))
    create_channel(registry, ada, _LINE, _CHANNEL)
    run = queue_run(registry, ada, RunCreate(ref=f"{_LINE}:v1"))
    grant = work.claim(registry, worker, name="gpu-1")
    complete_run(registry, worker, run.id, work.report(grant))
    move_channel(registry, ada, _LINE, _CHANNEL, ChannelMove(kind="promote", version=1), seen=0)
    return registry, ada


def fill(engine, count):
    """Copy the first version with all that there is of it until there are so many."""
    with read(engine) as conn:
        first = {
            table: dict(conn.execute(sa.select(table)).mappings().one())
            for table in (t.versions, t.runs, t.verdicts, t.verdict_envelopes, t.revisions)
        }
    first[t.verdicts]["checks"] = list(first[t.verdicts]["checks"])  # as it is written
    for start in range(2, count + 1, _CHUNK):
        numbers = range(start, min(start + _CHUNK, count + 1))
        with write(engine) as conn:
            for table, changes in made(first, numbers).items():
                with rows.unguarded(conn, table):
                    conn.execute(sa.insert(table), [first[table] | changed for changed in changes])
    with write(engine) as conn:
        with rows.unguarded(conn, t.channels):
            conn.execute(sa.update(t.channels).values(revision=count))
        conn.execute(sa.update(t.deltas).values(next_version=count + 1))
        if engine.dialect.name == "postgresql":
            for name in ("versions", "revisions"):
                newest = f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), max(id)) FROM {name}"
                conn.exec_driver_sql(newest)
    take_statistics(engine)


def made(first, numbers):
    """Give what differs in the rows of further versions, by table, as each has its own."""
    ids = {number: str(uuid.UUID(int=number)) for number in numbers}
    at = first[t.verdicts]["created_at"]
    digests = {number: str(sha256_of(str(number).encode())) for number in numbers}
    return {
        t.versions: [{"id": n, "number": n, "manifest_digest": digests[n], "created_at": at + n} for n in numbers],
        t.runs: [{"id": ids[n], "version_id": n, "created_at": at + n} for n in numbers],
        t.verdicts: [
            {"id": ids[n], "run_id": ids[n], "version_id": n, "manifest_digest": digests[n], "created_at": at + n}
            for n in numbers
        ],
        t.verdict_envelopes: [{"verdict_id": ids[n]} for n in numbers],
        t.revisions: [
            {
                "id": n,
                "number": n,
                "version_id": n,
                "digest": digests[n],
                "previous_version_id": n - 1,
                "verdict_ids": [ids[n]],
                "created_at": at + n,
            }
            for n in numbers
        ],
    }


if __name__ == "__main__":
    main()
