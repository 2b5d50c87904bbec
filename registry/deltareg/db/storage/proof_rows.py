"""Rows about the proofs of versions and bases, and about stored forms."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StandingProofRow:
    """The proof state of a version's or base's bytes; `sender_id` sent the bytes stored now."""

    id: int
    storage_revision: int
    proven_revision: int | None
    corrupt_at: int | None
    sender_id: int | None
    deleted_at: int | None

    @property
    def is_proven(self) -> bool:
        """Whether somebody other than the sender has decoded the bytes that are stored now."""
        return self.corrupt_at is None and self.proven_revision == self.storage_revision


@dataclass(frozen=True, slots=True)
class RelyingRow:
    """A version, or a plain base without the first three fields, that needs a pack of another's."""

    version_id: int | None
    base_id: int | None
    namespace: str | None
    line: str | None
    number: int | None
    base_name: str | None


@dataclass(frozen=True, slots=True)
class CheckMarkRow:
    """How far a check of pieces has queued runs, and which share of the stored bytes it checks."""

    version_id: int
    base_id: int
    share: str


@dataclass(frozen=True, slots=True)
class CheckStateRow:
    """The number of a check's runs with a state and an outcome."""

    state: str
    proof: str | None
    runs: int


@dataclass(frozen=True, slots=True)
class FormRow:
    """A stored form of a version beside the served one, without its storage map."""

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
    """The served form of a version; `proven_at` is set only while it is proven."""

    storage_map: bytes
    stored_bytes: int
    storage_revision: int
    proven_at: int | None


@dataclass(frozen=True, slots=True)
class ServedNowRow:
    """The served form of a version, without its storage map, and who sent it."""

    stored_bytes: int
    storage_revision: int
    sender: str | None
