"""The rows of quotas."""

from dataclasses import dataclass

from deltareg.words import QuotaResource


@dataclass(frozen=True, slots=True)
class LimitRow:
    """A limit of a holder; `most` is NULL where it has none although there is one for all."""

    holder: str
    resource: QuotaResource
    most: int | None


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What counts against the limits of a holder now; `run_us` is of this month."""

    holder: str
    bytes: int = 0
    versions: int = 0
    lines: int = 0
    drafts: int = 0
    uploads: int = 0
    run_us: int = 0


@dataclass(frozen=True, slots=True)
class LargeLineRow:
    """A line and what its versions store: all of them, and those that no channel ever served."""

    name: str
    versions: int
    stored_bytes: int
    idle: int
    idle_bytes: int


@dataclass(frozen=True, slots=True)
class OpenUploadRow:
    """An open upload: where it goes, who sends it, what it has brought, since when it rests."""

    id: str
    target: str
    principal: str
    size_bytes: int
    touched_at: int
