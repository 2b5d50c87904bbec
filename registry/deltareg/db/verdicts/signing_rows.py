"""Rows of keys and of what they signed."""

from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.words import KeyRole


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A public key: its owner, when it was enrolled, and whether it ended."""

    id: int
    role: KeyRole
    name: str
    principal_id: int | None
    keyid: str
    public: str
    host: str
    created_at: int
    created_by: int | None
    retired_at: int | None
    revoked_at: int | None
    revoked_by: int | None
    reason: str

    @property
    def is_live(self) -> bool:
        """Whether it is in use for signing."""
        return self.retired_at is None and self.revoked_at is None


@dataclass(frozen=True, slots=True)
class ServerKeyRow:
    """A key that servers sign or signed with.

    Attributes:
        keyid: Its name.
        slot: 1 for the key that is used now.
        sealed: The private half, sealed; None if it lies in a file or the key has ended.
        audit_id: The row of the audit trail by which it followed another; None for a first key.
    """

    keyid: str
    slot: int | None
    sealed: bytes | None
    audit_id: int | None


@dataclass(frozen=True, slots=True)
class ShownKeyRow(KeyRow):
    """A key with the names of those who enrolled and revoked it."""

    maker: str | None
    ender: str | None


@dataclass(frozen=True, slots=True)
class LeaseKeyRow:
    """The nonce of the newest claim of a run, and the key that must sign its report."""

    run_id: str
    nonce: str
    public: str


@dataclass(frozen=True, slots=True)
class EnvelopeRow:
    """The signed envelope of a verdict, as received."""

    verdict_id: str
    key_id: int | None
    keyid: str
    host: str
    labels: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """The summary that the server signed about a move."""

    revision_id: int
    keyid: str
    body: bytes
