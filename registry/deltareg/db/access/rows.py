"""Rows of tokens, of the audit trail and of kept answers."""

from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.words import Role, Scope, TokenKind, Visibility


@dataclass(frozen=True, slots=True)
class LiveTokenRow:
    """A token that holds now, whose it is, and the time by the database's clock.

    Attributes:
        namespaces: Those that it is limited to; None for no limit.
        held: The grants of its principal, as `db.access.grants.held_by` writes them.
        epoch: What the visibility of namespaces stands at.
    """

    id: int
    kind: TokenKind
    scopes: list[Scope]
    expires_at: int | None
    last_used_at: int | None
    principal_id: int
    principal: str
    principal_kind: str
    now: int
    namespaces: list[str] | None
    held: str | None
    epoch: int | None


@dataclass(frozen=True, slots=True)
class PrincipalRow:
    """Somebody who acts: a user, a service or a worker."""

    id: int
    name: str
    kind: str
    disabled_at: int | None


@dataclass(frozen=True, slots=True)
class HeldRow:
    """What a principal holds, as a query writes it; None for nothing."""

    held: str | None


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
    namespaces: list[str] | None


@dataclass(frozen=True, slots=True)
class AuditRecordRow:
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


@dataclass(frozen=True, slots=True)
class GrantRow:
    """A grant that has not ended, with all that is shown of it."""

    id: int
    principal_id: int
    principal: str
    kind: str
    person: str | None
    namespace: str | None
    role: Role
    pattern: str
    is_legacy: bool
    created_at: int
    created_by: str | None
    last_used_at: int | None


@dataclass(frozen=True, slots=True)
class NamespaceRow:
    """A namespace, how visible it is, and what there is in it."""

    id: int
    name: str
    visibility: Visibility
    created_at: int
    created_by: str | None
    lines: int
