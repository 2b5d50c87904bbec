"""Rows of the audit trail as a log."""

from dataclasses import dataclass

from deltareg.db.access.rows import AuditRecordRow


@dataclass(frozen=True, slots=True)
class StrayRow(AuditRecordRow):
    """A row of the audit trail that is not in the log, and whether it waits for that."""

    is_waiting: bool


@dataclass(frozen=True, slots=True)
class LeafRow:
    """A leaf with the row that it is of, as far as that is there.

    `id` is NULL where somebody deleted the row, and all of its fields with it.
    """

    position: int
    audit_id: int
    hash: bytes
    sealed_by: int
    id: int | None
    created_at: int | None
    actor: str | None
    token_id: int | None
    action: str | None
    subject: str | None
    before: object
    after: object
    request_id: str | None
    statement: bytes | None


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """A checkpoint: of how many leaves, and the note as it was signed."""

    size: int
    note: str
