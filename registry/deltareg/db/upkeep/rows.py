"""Rows of what waits for a collection, of what it would free, and of what fsck looks at."""

from dataclasses import dataclass

from deltareg.db.lines.version_rows import DocumentsRow
from deltareg.db.storage.rows import PackRow


@dataclass(frozen=True, slots=True)
class AwaitingRow:
    """A deleted version that still holds its bytes; `is_pinned` if a channel may return to it."""

    id: int
    deleted_at: int
    is_pinned: bool


@dataclass(frozen=True, slots=True)
class HoldingRow:
    """A deleted version, and a version made from it or standing on it that keeps it."""

    version_id: int
    child_id: int


@dataclass(frozen=True, slots=True)
class DeletedRow:
    """A deleted version that still holds its bytes, with its name."""

    id: int
    namespace: str
    line: str
    number: int
    deleted_at: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class FormerRow:
    """A stored form of a version that another one replaced."""

    id: int
    namespace: str
    line: str
    number: int
    stored_bytes: int
    created_at: int


@dataclass(frozen=True, slots=True)
class StalledRow:
    """How many pushes a collection would close: now, and with the shortest grace."""

    now: int
    least: int


@dataclass(frozen=True, slots=True)
class RunLogsRow:
    """How many logs of runs a collection would drop."""

    run_logs: int


@dataclass(frozen=True, slots=True)
class FreedRow:
    """The packs that a collection would free, and their bytes: now, and with the shortest grace."""

    packs: int
    size_bytes: int
    least_packs: int
    least_bytes: int


@dataclass(frozen=True, slots=True)
class StrandedRow:
    """A key that a push wrote or may have written; `is_due` if a collection deletes it now."""

    id: int
    physical_key: str
    is_due: bool


@dataclass(frozen=True, slots=True)
class StoredPackRow:
    """A pack as fsck looks at it; `bad_why` says what is known to be wrong with its object."""

    id: int
    scope: str
    digest: str
    physical_key: str
    size_bytes: int
    state: str
    bad_why: str | None

    @property
    def pack(self) -> PackRow:
        """The pack alone."""
        return PackRow(self.id, self.scope, self.digest, self.physical_key, self.size_bytes)


@dataclass(frozen=True, slots=True)
class CheckedDocumentsRow(DocumentsRow):
    """The documents of a version or a base, and whether it still has its bytes."""

    has_bytes: bool
