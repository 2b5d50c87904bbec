"""Rows of trusts."""

from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.words import Scope, TrustProvider


@dataclass(frozen=True, slots=True)
class TrustRow:
    """A trust that has not ended.

    Attributes:
        principal: The service account that its tokens are of.
        disabled_at: When that account was disabled; None if it is not.
        conditions: What the claims of an assertion have to be.
        note: What people call the repository or the issuer; never compared.
        maker: Who made the trust, and answers for it.
    """

    id: int
    namespace: str
    principal_id: int
    principal: str
    disabled_at: int | None
    provider: TrustProvider
    issuer: str
    audience: str
    conditions: Mapping[str, object]
    scopes: list[Scope]
    note: str
    created_at: int
    maker_id: int
    maker: str
    maker_disabled_at: int | None
