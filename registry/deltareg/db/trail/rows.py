"""Rows of the audit trail as a log."""

from dataclasses import dataclass

from deltareg.db.access.rows import AuditRecordRow


@dataclass(frozen=True, slots=True)
class StrayRow(AuditRecordRow):
    """A row of the audit trail that is not in the log, and whether it waits to be sealed."""

    is_waiting: bool


@dataclass(frozen=True, slots=True)
class LeafRow:
    """A leaf with its row of the audit trail, if that exists.

    `id` and all fields of the row are NULL if somebody deleted it.
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
    """A checkpoint: the number of leaves, and the signed note."""

    size: int
    note: str
