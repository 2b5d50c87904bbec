"""Rows of keys and of what they signed."""

from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.words import KeyRole


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A public key: whose it is, since when, and whether it ended."""

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
        """Whether it signs now."""
        return self.retired_at is None and self.revoked_at is None


@dataclass(frozen=True, slots=True)
class ShownKeyRow(KeyRow):
    """A key with the names of who enrolled it and who revoked it."""

    maker: str | None
    ender: str | None


@dataclass(frozen=True, slots=True)
class LeaseKeyRow:
    """What the report of the newest claim of a run must say, and the key that must sign it."""

    run_id: str
    nonce: str
    public: str


@dataclass(frozen=True, slots=True)
class EnvelopeRow:
    """What was signed about a verdict, as it came."""

    verdict_id: str
    key_id: int | None
    keyid: str
    host: str
    labels: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """What the server signed about a move."""

    revision_id: int
    keyid: str
    body: bytes
