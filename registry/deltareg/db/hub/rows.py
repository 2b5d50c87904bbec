"""Rows of what clients of the Hugging Face Hub have sent that is no version yet."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DraftRow:
    """What somebody wants to change about a line, as JSON."""

    id: int
    changes: str
    touched_at: int


@dataclass(frozen=True, slots=True)
class StagedRow:
    """An object that is being sent, or lies in the store until a version is made of it."""

    id: int
    sha256: str
    size_bytes: int
    physical_key: str
    state: str


@dataclass(frozen=True, slots=True)
class TicketRow:
    """The right to send one file."""

    line: str
    principal_id: int
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class AreaRow:
    """What somebody sends by Xet for a line."""

    id: int
    name: str
    line: str
    principal_id: int
