"""Rows of workers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker, and the time since it asked for work."""

    id: int
    name: str
    principal_id: int
    labels: dict[str, str]
    last_seen_at: int
    age_us: int


@dataclass(frozen=True, slots=True)
class BusyWorkerRow:
    """A worker with the run that it holds, if any; one row for each run."""

    name: str
    principal_id: int
    labels: dict[str, str]
    last_seen_at: int
    age_us: int
    run_id: str | None
    what: str | None
    namespace: str | None
    line: str | None
    number: int | None
