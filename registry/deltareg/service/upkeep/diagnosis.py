"""What is stuck and why, and which runs were slow: for `server doctor`, which looks past the API."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from deltareg.db.runs import queue as queue_queries
from deltareg.db.session import read
from deltareg.db.sql.clock import US_PER_S
from deltareg.db.upkeep import diagnosis as queries
from deltareg.service.labels import is_for_one_run
from deltareg.service.registry import Registry
from deltareg.service.runs.info import LIVE_US, describe_runs, explain_unserved
from deltareg.wire import RunInfo

_LISTED: Final = 200
_DAY_US: Final = 86_400 * US_PER_S


@dataclass(frozen=True, slots=True)
class SlowRun:
    """A run, and where its time went.

    Attributes:
        run: The run.
        waited_s: From when it was asked for until a worker took it for the last time, seconds.
        worked_s: From then until it ended, seconds.
    """

    run: RunInfo
    waited_s: float
    worked_s: float


@dataclass(frozen=True, slots=True)
class StuckWork:
    """What is stuck.

    Attributes:
        live: The workers that run now.
        gone: The workers of the last day that do not.
        waiting: How many runs wait, of those that were looked at.
        reasons: Why nobody can take them, and how many they are.
        longest: The run that waits longest; None if none waits.
        held_up: Verifications that wait until bytes are pushed again.
        dead: The runs of the last day that were given up.
    """

    live: Sequence[str]
    gone: Sequence[str]
    waiting: int
    reasons: Mapping[str, int]
    longest: RunInfo | None
    held_up: int
    dead: Sequence[RunInfo]


def stuck_work(registry: Registry, *, now_us: int) -> StuckWork:
    """Look what is stuck now."""
    with read(registry.engine) as conn:
        workers = queue_queries.worker_rows(conn, seen_within_us=_DAY_US)
        rows = [row for row in queue_queries.queue_rows(conn, limit=_LISTED) if row.place is not None]
        reasons = Counter(why for why in explain_unserved(conn, rows).values() if why)
        dead = queries.dead_runs(conn, since_us=now_us - _DAY_US, limit=20)
        infos = describe_runs(conn, [*rows, *dead])
        held_up = queries.count_held_up(conn)
    names = {row.name: row.age_us < LIVE_US or row.run_id is not None for row in workers}
    lasting = {row.name for row in workers if not is_for_one_run(row.labels)}
    oldest = min(rows, key=lambda row: row.created_at, default=None)
    return StuckWork(
        live=[name for name, is_live in names.items() if is_live],
        gone=[name for name, is_live in names.items() if not is_live and name in lasting],
        waiting=len(rows),
        reasons=reasons,
        longest=None if oldest is None else infos[oldest.id],
        held_up=held_up,
        dead=[infos[row.id] for row in dead],
    )


def slow_runs(registry: Registry, *, since_us: int, limit: int, line: str = "") -> list[SlowRun]:
    """Return the runs since a time, of a line or of all, that took longest, with where their time went."""
    with read(registry.engine) as conn:
        rows = queries.longest_runs(conn, since_us=since_us, limit=limit, line=line)
        infos = describe_runs(conn, rows)
    found: list[SlowRun] = []
    for row in rows:
        started, ended = row.started_at or row.finished_at or 0, row.finished_at or 0
        waited, worked = started - row.created_at, ended - started
        found.append(SlowRun(infos[row.id], waited / US_PER_S, worked / US_PER_S))
    return found


def upload_targets(registry: Registry, upload_ids: Collection[str]) -> dict[str, str]:
    """Return where uploads go, by upload, as far as that is known."""
    with read(registry.engine) as conn:
        return queries.targets_of(conn, upload_ids)
