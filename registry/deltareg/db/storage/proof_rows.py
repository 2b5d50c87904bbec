"""Rows of what is known of the bytes of versions and bases, and of stored forms."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StandingProofRow:
    """What is known of the bytes of a version or a base; `sender_id` sent them as they are now."""

    id: int
    storage_revision: int
    proven_revision: int | None
    corrupt_at: int | None
    sender_id: int | None
    deleted_at: int | None

    @property
    def is_proven(self) -> bool:
        """Whether somebody else than the sender has decoded what is stored now."""
        return self.corrupt_at is None and self.proven_revision == self.storage_revision


@dataclass(frozen=True, slots=True)
class RelyingRow:
    """A version, or a plain base without the first three, that needs a pack of another's."""

    version_id: int | None
    base_id: int | None
    namespace: str | None
    line: str | None
    number: int | None
    base_name: str | None


@dataclass(frozen=True, slots=True)
class CheckMarkRow:
    """How far a check of pieces has queued runs, and of which share of what is stored."""

    version_id: int
    base_id: int
    share: str


@dataclass(frozen=True, slots=True)
class CheckStateRow:
    """How many runs of a check are in a state and have found something."""

    state: str
    proof: str | None
    runs: int


@dataclass(frozen=True, slots=True)
class FormRow:
    """A stored form of a version beside the one that is served, without its storage map."""

    id: int
    version_id: int
    why: str
    stored_bytes: int
    revision: int | None
    sent_by: int | None
    run_id: str | None
    state: str
    created_at: int
    ended_at: int | None
    proven_at: int | None
    sender: str | None


@dataclass(frozen=True, slots=True)
class ServedFormRow:
    """The form that a version is served in; `proven_at` only while it is proven."""

    storage_map: bytes
    stored_bytes: int
    storage_revision: int
    proven_at: int | None


@dataclass(frozen=True, slots=True)
class ServedNowRow:
    """The form that a version is served in, without its storage map, and who sent it."""

    stored_bytes: int
    storage_revision: int
    sender: str | None
