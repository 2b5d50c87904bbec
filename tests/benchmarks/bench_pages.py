"""Pages over a large registry: `python tests/benchmarks/bench_pages.py`.

2,000 lines with 10,000 versions and as many verdicts, each line with a channel that has moved five
times, in SQLite on disk behind the real server on loopback. Each page is asked for as a browser
does, one after the other; measured is the time until its last byte is there, the processor time of
server and client together, which other work on the machine leaves as it is, what the page weighs,
and what is left of it when it is packed.
"""

import argparse
import gc
import gzip
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import sqlalchemy as sa  # only now the tests can be imported

import deltareg_migrations
from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.digest import sha256_of
from deltareg.host.garbage import collect_in_small_steps, collect_rarely
from tests.benchmarks import page
from tests.fixtures.registries import running
from tests.pages.conftest import browser

_LINE = "/ui/deltas/team/line-50"
_PROD = f"{_LINE}/channels/prod"
_PAGES = [
    "/ui/",
    "/ui/deltas",
    "/ui/deltas?q=line-1",
    "/ui/deltas?kind=lora&verdict=pass",
    _LINE,
    f"{_LINE}/v3",
    f"{_LINE}/v3/gate",
    f"{_LINE}/v3/verdicts",
    f"{_LINE}/v3/files",
    f"{_LINE}/diff",
    f"{_LINE}/v3/lineage",
    "/ui/lineage?at=base:tinyllama",
    _PROD,
    f"{_PROD}/rollback",
    "/ui/requests",
    "/ui/runs",
    "/ui/bases",
    "/ui/bases/tinyllama",
    "/ui/fleet",
    "/ui/storage",
    "/ui/storage?of=team",
    "/ui/storage/plan",
    "/ui/access",
    "/ui/audit",
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=2_000)
    parser.add_argument("--versions", type=int, default=5, help="of each line")
    parser.add_argument("--count", type=int, default=120, help="how often each page is asked for")
    page.add_option(parser)
    options = parser.parse_args()
    collect_rarely()  # as the server's own process does
    with tempfile.TemporaryDirectory(prefix="deltareg-bench-") as name:
        folder = Path(name)
        url = f"sqlite:///{folder}/registry.db"
        deltareg_migrations.upgrade(url)
        with running(url, (folder / "blobs").as_uri(), folder) as server:
            server.line("lora", "lora_v2")
            fill(server.registry.engine, options.lines, options.versions)
            gc.collect()  # what filling has left is no page's
            collect_in_small_steps()
            with browser(server, server.admin_token) as client:
                told = [measured(client, path, options.count) for path in _PAGES]
    head = f"{options.lines:,} lines, {options.lines * options.versions:,} versions, {options.count} times each"
    columns = f"{'page':42}{'p50 ms':>8}{'p95 ms':>8}{'CPU ms':>8}{'kB':>7}{'packed':>8}"
    text = "\n".join([head, "", columns, *told])
    print(text)
    page.write_docs(options, "pages", text)


def fill(engine, lines, versions):
    """Make lines like the one that was pushed: rows alone, all of the same bytes."""
    with write(engine) as conn:
        line = conn.execute(sa.select(t.deltas).where(t.deltas.c.name == "lora")).mappings().one()
        version = _one(conn, t.versions, t.versions.c.number == 1)
        verdict = _one(conn, t.verdicts, t.verdicts.c.version_id == version["id"])
        verdict["checks"] = list(verdict["checks"])  # unpacked, to be written anew
        channel = _one(conn, t.channels, t.channels.c.revision > 0)
        revision = _one(conn, t.revisions, t.revisions.c.number == 1)
        run = _one(conn, t.runs, t.runs.c.id == verdict["run_id"])
        pack = _one(conn, t.version_packs, t.version_packs.c.version_id == version["id"])
        share = _one(conn, t.version_shares, t.version_shares.c.version_id == version["id"])
        next_id = {table: _largest(conn, table) for table in (t.deltas, t.versions, t.channels)}
        for number in range(lines):
            delta_id = next_id[t.deltas] + number + 1
            conn.execute(
                sa.insert(t.deltas).values(
                    {**line, "id": delta_id, "name": f"line-{number}", "next_version": versions + 1}
                )
            )
            channel_id = next_id[t.channels] + number + 1
            conn.execute(
                sa.insert(t.channels).values(
                    {**channel, "id": channel_id, "delta_id": delta_id, "revision": 0, "policy": {"suites": []}}
                )
            )
            for place in range(1, versions + 1):
                version_id = next_id[t.versions] + number * versions + place
                digest = str(sha256_of(f"{number} {place}".encode()))
                own = {"version_id": version_id}
                conn.execute(
                    sa.insert(t.versions).values(
                        {**version, "id": version_id, "delta_id": delta_id, "number": place, "manifest_digest": digest}
                    )
                )
                run_id = str(uuid.UUID(hex=digest[7:39], version=4))
                conn.execute(sa.insert(t.runs).values({**run, **own, "id": run_id, "dedup_key": run_id}))
                conn.execute(
                    sa.insert(t.verdicts).values(
                        {**verdict, **own, "id": run_id[:-1] + "0", "run_id": run_id, "manifest_digest": digest}
                    )
                )
                conn.execute(sa.insert(t.version_packs).values({**pack, **own}))
                conn.execute(sa.insert(t.version_shares).values({**share, **own}))
                follow = sa.update(t.channels).where(t.channels.c.id == channel_id)
                conn.execute(follow.values(revision=place))
                moved = {k: v for k, v in revision.items() if k != "id"}
                conn.execute(
                    sa.insert(t.revisions).values(
                        {
                            **moved,
                            "channel_id": channel_id,
                            "number": place,
                            "version_id": version_id,
                            "digest": digest,
                            "verdict_ids": [],
                            "previous_version_id": None if place == 1 else version_id - 1,
                        }
                    )
                )


def _one(conn, table, condition):
    return dict(conn.execute(sa.select(table).where(condition)).mappings().first())


def _largest(conn, table):
    return conn.execute(sa.select(sa.func.max(table.c.id))).scalar_one()


def measured(client, path, count):
    """Give a row of the table for a page."""
    client.get(path).raise_for_status()
    times, spent, body = [], [], b""
    for _ in range(count):
        began, worked = time.perf_counter(), time.process_time()
        body = client.get(path).content
        times.append((time.perf_counter() - began) * 1_000)
        spent.append((time.process_time() - worked) * 1_000)
    packed = len(gzip.compress(body)) / 1_000
    times.sort()
    late = times[min(len(times) - 1, int(len(times) * 0.95))]
    shown = path.removeprefix("/ui").replace("/deltas/team/line-50", "/deltas/…")
    return (
        f"{shown:42}{statistics.median(times):8.1f}{late:8.1f}{statistics.median(spent):8.1f}"
        f"{len(body) / 1_000:7.1f}{packed:8.1f}"
    )


if __name__ == "__main__":
    main()
