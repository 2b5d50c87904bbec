"""Rows of what clients of the Hugging Face Hub have uploaded before it becomes a version."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DraftRow:
    """A draft: somebody's changes to a line, as JSON."""

    id: int
    changes: str
    touched_at: int


@dataclass(frozen=True, slots=True)
class StagedRow:
    """An object that is being sent, or is stored until it becomes part of a version."""

    id: int
    sha256: str
    size_bytes: int
    physical_key: str
    state: str


@dataclass(frozen=True, slots=True)
class TicketRow:
    """A ticket: the right to send one file."""

    line: str
    principal_id: int
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class AreaRow:
    """An area: what somebody uploads by Xet for a line."""

    id: int
    name: str
    line: str
    principal_id: int


@dataclass(frozen=True, slots=True)
class ListedRepositoryRow:
    """A line as hub clients list it, with the row id of its newest version."""

    id: int
    namespace: str
    name: str
    visibility: str
    created_at: int
    newest_id: int


@dataclass(frozen=True, slots=True)
class NamedVersionRow:
    """A version by all that names it."""

    number: int
    manifest_digest: str
    semver: str | None
    labels: dict[str, str]
