"""The queue as it stands: what runs and what waits, who works, and how much there is."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.runs import queue as queries
from deltareg.db.runs.rows import QueuedRunRow
from deltareg.db.runs.worker_rows import BusyWorkerRow
from deltareg.db.session import read
from deltareg.db.sql.clock import US_PER_S
from deltareg.refs import Ref
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, SHARED
from deltareg.service.clock import rfc3339
from deltareg.service.describe import line_of, ref_of
from deltareg.service.labels import device_class, is_for_one_run
from deltareg.service.paging import check_limit, page, read_number_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_version
from deltareg.service.runs.info import LIVE_US, describe_runs, explain_unserved
from deltareg.wire import Page, RunInfo, WorkerInfo

_KNOWN_US = 86_400 * US_PER_S


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """How much work of a kind there is for a kind of hardware, for metrics and for scaling workers.

    Attributes:
        what: The kind of run.
        device: The hardware that it asks for: `any`, `cpu`, `cuda`, `h100`.
        waiting: Runs that a worker could claim now.
        running: Runs under a lease.
        oldest_s: How long the oldest waiting run has waited.
    """

    what: str
    device: str
    waiting: int
    running: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class Workforce:
    """How many workers of a kind of hardware run now.

    Attributes:
        device: `cpu` or `cuda`.
        idle: Those that wait for work.
        busy: Those that hold a run.
    """

    device: str
    idle: int
    busy: int


def list_queue(registry: Registry, caller: Caller, *, ref: Ref | None, cursor: str | None, limit: int) -> Page[RunInfo]:
    """List the runs under a lease and then those that wait, the next one first.

    `position` counts all that wait, whichever version they are about; those about what the caller
    may not read are left out.
    """
    caller.require(Right.READ, on=SHARED)
    if ref is not None:
        caller.require(Right.READ, on=ref.line)
    offset = read_number_cursor(cursor) or 0
    with read(registry.engine) as conn:
        version_id = None if ref is None else find_version(conn, caller, ref, bare="newest").id
        rows = queries.queue_rows(
            conn, version_id=version_id, sight=caller.sight, offset=offset, limit=check_limit(limit) + 1
        )
        shown = describe_runs(conn, rows)
        waiting = [row for row in rows if row.waits]
        reasons = explain_unserved(conn, waiting)
        places = _places(conn, waiting, are_all=version_id is None and caller.sight is None)
    for row in waiting:
        standing = {"position": places.get(row.id), "unserved": reasons[row.id]}
        shown[row.id] = shown[row.id].model_copy(update=standing)
    return page(rows, limit, show=lambda row: shown[row.id], key=lambda _: offset + limit)


def list_workers(registry: Registry, caller: Caller) -> Page[WorkerInfo]:
    """List the workers of the last day by name, and what each of them runs.

    Of a run about what the caller may not read it is shown only that there is one.
    """
    caller.require(Right.READ, on=SHARED)
    with read(registry.engine) as conn:
        rows = queries.worker_rows(conn, seen_within_us=_KNOWN_US)
    known = [row for row in _one_each(rows) if row.run_id or not is_for_one_run(row.labels)]
    return Page(items=[_show_worker(caller, row) for row in known])


def queue_depth(registry: Registry) -> list[QueueDepth]:
    """Count the work that there is, by kind of run and by the hardware that it asks for."""
    with read(registry.engine) as conn:
        rows = queries.queue_depth(conn)
    found: dict[tuple[str, str], QueueDepth] = {}
    for row in rows:
        key = (row.what, device_class(json.loads(row.labels)))
        known = found.get(key, QueueDepth(*key, 0, 0, 0.0))
        found[key] = QueueDepth(
            *key,
            known.waiting + row.waiting,
            known.running + row.running,
            max(known.oldest_s, row.oldest_us / US_PER_S),
        )
    return list(found.values())


def workforce(registry: Registry) -> list[Workforce]:
    """Count the workers that run now."""
    with read(registry.engine) as conn:
        found = _one_each(queries.worker_rows(conn, seen_within_us=LIVE_US))
    rows = [row for row in found if not is_for_one_run(row.labels)]
    devices = sorted({row.labels.get("device", "") for row in rows})
    of = {device: [row for row in rows if row.labels.get("device", "") == device] for device in devices}
    busy = {device: sum(row.run_id is not None for row in of[device]) for device in devices}
    return [Workforce(each, len(of[each]) - busy[each], busy[each]) for each in devices]


def _places(conn: sa.Connection, waiting: Sequence[QueuedRunRow], *, are_all: bool) -> dict[str, int]:
    """Give the places of runs that wait; without others between them they are counted on."""
    if are_all and waiting:
        first = 1 + queries.place_of(conn, waiting[0])
        return {row.id: first + index for index, row in enumerate(waiting)}
    return queries.places_of(conn, [row.id for row in waiting]) if waiting else {}


def _one_each(rows: Sequence[BusyWorkerRow]) -> list[BusyWorkerRow]:
    return list({row.name: row for row in reversed(rows)}.values())[::-1]


def _show_worker(caller: Caller, row: BusyWorkerRow) -> WorkerInfo:
    on = EVERYTHING if row.number is None else line_of(row)
    is_seen = row.run_id is not None and caller.may(Right.READ, on=on)
    return WorkerInfo(
        name=row.name,
        labels=row.labels,
        seen_at=rfc3339(row.last_seen_at),
        is_live=row.age_us < LIVE_US or row.run_id is not None,
        run=row.run_id if is_seen else None,
        what=row.what,
        ref=ref_of(row) if is_seen and row.number is not None else None,
    )
