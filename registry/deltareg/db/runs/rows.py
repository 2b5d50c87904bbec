"""Rows of runs, of their logs and of the queue."""

from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.words import RunState


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run."""

    id: str
    what: str
    dedup_key: str
    version_id: int | None
    suite: str
    request: Mapping[str, str]
    state: RunState
    priority: int
    attempt: int
    max_attempts: int
    labels: dict[str, str]
    lease_holder: str | None
    lease_expires_at: int | None
    fence: int
    created_at: int
    started_at: int | None
    finished_at: int | None
    created_by: int | None
    error: str | None
    result: Mapping[str, object] | None
    namespace_id: int | None
    turn: int
    base_id: int | None
    turn_inside: int


@dataclass(frozen=True, slots=True)
class ShownRunRow(RunRow):
    """A run with the names of its version or base, and of its maker."""

    namespace: str | None
    line: str | None
    number: int | None
    maker: str | None
    base_name: str | None


@dataclass(frozen=True, slots=True)
class QueuedRunRow(ShownRunRow):
    """An active run: under a lease, or waiting at a `place`."""

    place: int | None


@dataclass(frozen=True, slots=True)
class ClaimableRow:
    """A run that may be claimed, and its place in the queue."""

    id: str
    what: str
    version_id: int | None
    suite: str
    labels: dict[str, str]
    request: Mapping[str, str]
    priority: int
    namespace_id: int | None
    turn: int
    turn_inside: int
    created_at: int


@dataclass(frozen=True, slots=True)
class SlotRow:
    """A place in the queue: it is for some run of a priority and a namespace."""

    priority: int
    namespace_id: int | None


@dataclass(frozen=True, slots=True)
class MembersRow:
    """The ids of the next runs of a priority and a namespace, parted by commas."""

    priority: int
    namespace_id: int | None
    members: str


@dataclass(frozen=True, slots=True)
class HeldRunRow:
    """A worker, and the namespace of the run that it holds, if it holds one."""

    name: str
    labels: dict[str, str]
    run_id: str | None
    namespace_id: int | None


@dataclass(frozen=True, slots=True)
class ActiveRunRow:
    """A run that is under way, and whose turns it takes."""

    id: str
    state: RunState
    priority: int
    namespace_id: int | None
    created_by: int | None


@dataclass(frozen=True, slots=True)
class SupersededRow:
    """A run that was ended because a run of a newer version took its place."""

    id: str
    version_id: int
    started_at: int | None


@dataclass(frozen=True, slots=True)
class ResultRow:
    """The result of a run about a version."""

    version_id: int
    result: Mapping[str, object] | None


@dataclass(frozen=True, slots=True)
class PlaceRow:
    """Where a run would be placed in the queue now: among namespaces, and inside its own."""

    turn: int
    turn_inside: int


@dataclass(frozen=True, slots=True)
class ReencodeRow:
    """A re-encode run."""

    version_id: int
    state: RunState
    request: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class VerifyRow:
    """A verification."""

    id: str
    version_id: int
    suite: str
    state: RunState
    request: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DepthRow:
    """The number of active runs of a kind with the same labels, which are JSON text, and priority."""

    what: str
    labels: str
    priority: int
    waiting: int
    running: int
    oldest_us: int


@dataclass(frozen=True, slots=True)
class LogLineRow:
    """A line of the log of a run."""

    run_id: str
    seq: int
    fence: int
    number: int
    total_bytes: int
    line: Mapping[str, object]
    created_at: int


@dataclass(frozen=True, slots=True)
class RunResultRow:
    """A run's question and result, if they are more than its row holds.

    The run is about a version and, if there is a second one, `other_id`; it is deleted at
    `ends_at`.
    """

    run_id: str
    other_id: int | None
    asked: bytes
    found: bytes | None
    ends_at: int | None


@dataclass(frozen=True, slots=True)
class RunAgeRow:
    """When a run was queued, in µs since the epoch, and its state."""

    created_at: int
    state: RunState
