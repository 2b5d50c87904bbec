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
    knows_digest: str | None
    unknown: list[str] | None


@dataclass(frozen=True, slots=True)
class KnowledgeRow:
    """The words that a worker knows, None where it does not say, and those that it has shown not to know."""

    name: str
    knows: list[str] | None
    unknown: list[str] | None


@dataclass(frozen=True, slots=True)
class PoolWorkerRow:
    """A worker of a pool, the time since it asked for work, and what it has shown not to know."""

    name: str
    pool: str
    age_us: int
    knows_digest: str | None
    unknown: list[str] | None


@dataclass(frozen=True, slots=True)
class BusyWorkerRow:
    """A worker with the run that it holds, if any; one row for each run."""

    name: str
    principal_id: int
    labels: dict[str, str]
    last_seen_at: int
    age_us: int
    knows_digest: str | None
    unknown: list[str] | None
    run_id: str | None
    what: str | None
    namespace: str | None
    line: str | None
    number: int | None
