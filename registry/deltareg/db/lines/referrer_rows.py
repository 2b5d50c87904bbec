"""Rows of what others signed about versions."""

from dataclasses import dataclass

from deltareg.words import ReferrerForm


@dataclass(frozen=True, slots=True)
class ReferrerRow:
    """What somebody signed about a version, without its bytes.

    `revoked` is why the signer, or the authority behind them, is revoked; None while neither is.
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
    """What was signed, as it came, with the public key that it holds for."""

    body: bytes
    public: str


@dataclass(frozen=True, slots=True)
class RevokedSignerRow:
    """A key or an authority whose signatures count no more."""

    keyid: str
    reason: str
    created_at: int
    actor: str | None
