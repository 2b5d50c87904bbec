"""Rows of tokens, of the audit trail and of kept answers."""

from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.db.rows.words import Scope, TokenKind


@dataclass(frozen=True, slots=True)
class LiveTokenRow:
    """A token that holds now, whose it is, and the time by the database's clock."""

    id: int
    kind: TokenKind
    scopes: list[Scope]
    expires_at: int | None
    last_used_at: int | None
    principal_id: int
    principal: str
    principal_kind: str
    now: int


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token without its hash."""

    id: int
    display: str
    kind: TokenKind
    scopes: list[Scope]
    note: str
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    last_used_at: int | None
    principal: str
    created_by: str | None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Who did what to which thing."""

    id: int
    created_at: int
    actor: str
    token_id: int | None
    action: str
    subject: str
    before: object
    after: object
    request_id: str


@dataclass(frozen=True, slots=True)
class KeptAnswerRow:
    """An answer that is kept for a request that comes again."""

    id: int
    principal_id: int
    key: str
    request_digest: str
    status: int
    body: bytes
    headers: Mapping[str, str]
    created_at: int
