"""What the queue itself costs while so many runs wait: asked of the services, on a database of its own.

One person has queued all of them but one, in one namespace; a colleague queues that one.
"""

import statistics
import time
from pathlib import Path

import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.lines import deltas
from deltareg.db.session import create_engine, write
from deltareg.service.registry import Registry
from deltareg.service.runs.leases import claim_lease
from deltareg.service.runs.queue import list_queue
from deltareg.service.runs.runs import queue_run, show_run
from deltareg.store.memory import MemoryStore
from deltareg.suites.suite import built_in
from deltareg.wire import LeaseRequest, RunCreate
from deltareg_migrations import schema
from tests.service import rows
from tests.signers import enrol

HEAD = f"{'runs that wait':<18}{'queue one':>12}{'claim one':>12}{'list them':>12}{'show one':>12}   ms, median of 15"
_TIMES = 15


def costs(folder: Path, waiting: int, *, url: str = "") -> str:
    """Fill a queue and give a line of the table."""
    url = url or f"sqlite:///{folder / f'queue-{waiting}.db'}"
    schema.upgrade(url)
    engine = create_engine(url)
    registry = Registry(engine, MemoryStore())
    rows.base(engine)
    ada, bob = rows.caller(engine), rows.caller(engine, "bob")
    worker = rows.caller(engine, "gpu-1", kind="worker", scopes={"verify"})
    with write(engine) as conn:
        place = deltas.add_namespace(conn, "team", created_by=ada.principal_id).id
        deltas.add_delta(conn, place, "x", created_by=ada.principal_id)
        line = deltas.delta_row(conn, "team", "x")
        assert line is not None
        for _ in range(2 * _TIMES + 1):
            rows.add_version(conn, line.id)
        first = conn.execute(sa.select(t.versions.c.id)).scalars().first()
        fill(conn, waiting, version_id=first, namespace_id=place, created_by=ada.principal_id)
    key = enrol(engine, worker.principal_id, worker.principal)
    ask = LeaseRequest(worker="w", key=str(key.public))
    refs = iter(f"team/x:v{number}" for number in range(2, 99))
    last = [queue_run(registry, bob, RunCreate(ref=next(refs))).id]
    figures = [
        timed(lambda: last.append(queue_run(registry, bob, RunCreate(ref=next(refs))).id)),
        timed(lambda: claim_lease(registry, worker, ask, lease_s=600)),
        timed(lambda: list_queue(registry, ada, ref=None, cursor=None, limit=50)),
        timed(lambda: show_run(registry, bob, last[-1])),
    ]
    engine.dispose()
    return f"{waiting:<18,}" + "".join(f"{figure:>12.2f}" for figure in figures)


def fill(conn, count, *, version_id, **columns):
    """Insert runs as one person would have queued them."""
    digest = str(built_in("smoke").digest)
    for begin in range(0, count, 10_000):
        values = [
            {
                "id": f"filled-{number:07}",
                "what": "verify",
                "dedup_key": f"filled-{number:07}",
                "version_id": version_id,
                "suite": "smoke",
                "request": {"suite_digest": digest},
                "labels": {},
                "turn": number + 1,
                **({"turn_inside": number + 1} if "turn_inside" in t.runs.c else {}),
                **columns,
            }
            for number in range(begin, min(count, begin + 10_000))
        ]
        conn.execute(sa.insert(t.runs), values)


def timed(action):
    """Give the median of some times, in ms."""
    times = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000
