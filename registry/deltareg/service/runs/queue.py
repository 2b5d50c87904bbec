"""The state of the queue: running and waiting runs, workers, and the amount of work."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deltareg.db.runs import queue as queries
from deltareg.db.runs.worker_rows import BusyWorkerRow
from deltareg.db.session import read
from deltareg.db.sql.clock import US_PER_S
from deltareg.refs import Ref
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, SHARED
from deltareg.service.clock import rfc3339
from deltareg.service.describe import line_of, ref_of
from deltareg.service.labels import device_class, fits, is_for_one_run
from deltareg.service.paging import check_limit, page, read_number_cursor
from deltareg.service.priority import priority_word
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_version
from deltareg.service.runs.info import LIVE_US, describe_runs, explain_unserved
from deltareg.wire import Page, Priority, RunInfo, WorkerInfo

_KNOWN_US = 86_400 * US_PER_S


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """The amount of work of one kind for one kind of hardware, for metrics and for scaling workers.

    Attributes:
        what: The kind of run.
        device: The hardware that the runs ask for: `any`, `cpu`, `cuda`, `h100`.
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
class QueueOutlook:
    """What waits, beside how much of it there is.

    Attributes:
        by_priority: Runs that wait, by the word of their priority.
        unserved: Runs that wait and ask for labels that no live worker offers.
    """

    by_priority: Mapping[Priority, int]
    unserved: int


@dataclass(frozen=True, slots=True)
class Workforce:
    """How many workers of one kind of hardware run now.

    Attributes:
        device: `cpu` or `cuda`.
        idle: How many wait for work.
        busy: How many hold a run.
    """

    device: str
    idle: int
    busy: int


def list_queue(registry: Registry, caller: Caller, *, ref: Ref | None, cursor: str | None, limit: int) -> Page[RunInfo]:
    """List the runs under a lease and then the waiting ones, the next one first.

    `position` counts all waiting runs, whatever they are about; runs about what the caller may not
    read are not listed.
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
        infos = describe_runs(conn, rows)
        waiting = [row for row in rows if row.place is not None]
        reasons = explain_unserved(conn, waiting)
    for row in waiting:
        standing = {"position": row.place, "unserved": reasons[row.id]}
        infos[row.id] = infos[row.id].model_copy(update=standing)
    return page(rows, limit, show=lambda row: infos[row.id], key=lambda _: offset + limit)


def list_workers(registry: Registry, caller: Caller) -> Page[WorkerInfo]:
    """List the workers of the last day by name, and what each of them runs.

    Of a run about something that the caller may not read, only its existence is shown.
    """
    caller.require(Right.READ, on=SHARED)
    with read(registry.engine) as conn:
        rows = queries.worker_rows(conn, seen_within_us=_KNOWN_US)
    workers = [row for row in _one_each(rows) if row.run_id or not is_for_one_run(row.labels)]
    return Page(items=[_show_worker(caller, row) for row in workers])


def queue_depth(registry: Registry) -> list[QueueDepth]:
    """Return the amount of work, by kind of run and by requested hardware."""
    with read(registry.engine) as conn:
        rows = queries.queue_depth(conn)
    depths: dict[tuple[str, str], QueueDepth] = {}
    for row in rows:
        key = (row.what, device_class(json.loads(row.labels)))
        depth = depths.get(key, QueueDepth(*key, 0, 0, 0.0))
        depths[key] = QueueDepth(
            *key,
            depth.waiting + row.waiting,
            depth.running + row.running,
            max(depth.oldest_s, row.oldest_us / US_PER_S),
        )
    return list(depths.values())


def queue_outlook(registry: Registry) -> QueueOutlook:
    """Return the priorities of what waits, and how much of it nobody could take."""
    with read(registry.engine) as conn:
        rows = queries.queue_depth(conn)
        workers = queries.worker_rows(conn, seen_within_us=LIVE_US)
    live = [row.labels for row in workers if not is_for_one_run(row.labels)]
    by_priority: Counter[Priority] = Counter()
    unserved = 0
    for row in rows:
        by_priority[priority_word(row.priority)] += row.waiting
        labels = json.loads(row.labels)
        if row.waiting and not any(fits(labels, offered) for offered in live):
            unserved += row.waiting
    return QueueOutlook(by_priority, unserved)


def workforce(registry: Registry) -> list[Workforce]:
    """Return the number of workers that run now, by hardware."""
    with read(registry.engine) as conn:
        workers = _one_each(queries.worker_rows(conn, seen_within_us=LIVE_US))
    rows = [row for row in workers if not is_for_one_run(row.labels)]
    devices = sorted({row.labels.get("device", "") for row in rows})
    of = {device: [row for row in rows if row.labels.get("device", "") == device] for device in devices}
    busy = {device: sum(row.run_id is not None for row in of[device]) for device in devices}
    return [Workforce(each, len(of[each]) - busy[each], busy[each]) for each in devices]


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
