"""Rows of signatures and attestations of versions."""

from dataclasses import dataclass

from deltareg.words import ReferrerForm


@dataclass(frozen=True, slots=True)
class ReferrerRow:
    """A signature or an attestation of a version, without its bytes.

    `revoked` is the reason why the signer, or the authority behind them, was revoked; None if
    neither was.
    """

    id: int
    version_id: int
    form: ReferrerForm
    digest: str
    predicate_type: str
    keyid: str
    ca: str
    issuer: str
    identity: str
    created_at: int
    size_bytes: int
    sender: str | None
    revoked: str | None


@dataclass(frozen=True, slots=True)
class ReferrerBodyRow:
    """A signature or an attestation as it was received, with the public key that verifies it."""

    body: bytes
    public: str


@dataclass(frozen=True, slots=True)
class RevokedSignerRow:
    """A revoked key or authority, whose signatures do not count any more."""

    keyid: str
    reason: str
    created_at: int
    actor: str | None
