"""Rows of tokens, of the audit trail and of stored answers."""

from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.words import NamespaceRequestState, Scope, TokenKind, Visibility


@dataclass(frozen=True, slots=True)
class LiveTokenRow:
    """A live token, its principal, and the time by the database's clock.

    Attributes:
        namespaces: The namespaces that it is limited to; None for no limit.
        held: The grants of its principal, in the format of `db.access.grants.held_by`.
        epoch: The visibility epoch.
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
    """A principal: a user, a service, a worker or a group."""

    id: int
    name: str
    kind: str
    disabled_at: int | None


@dataclass(frozen=True, slots=True)
class ActingRow:
    """A principal that acts and is not disabled; `people` are the names of who stands behind it, joined by commas."""

    id: int
    name: str
    kind: str
    people: str | None


@dataclass(frozen=True, slots=True)
class OwnedRow:
    """A service account or a machine, and the name of its owner."""

    id: int
    name: str
    kind: str
    owner: str


@dataclass(frozen=True, slots=True)
class LeftRow:
    """One thing that a principal leaves to others, and of which kind it is."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class HeldRow:
    """A principal's grants as `held_by` formats them; None if there are none."""

    held: str | None


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token without its hash; `people` are the names of who stands behind its principal, joined by commas."""

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
    people: str | None


@dataclass(frozen=True, slots=True)
class AuditRecordRow:
    """A row of the audit trail: who did what to which subject."""

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
    """An answer that is stored for a repeated request."""

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
    """A grant that has not ended, with everything that is shown of it.

    Attributes:
        person: Who stands behind its principal; None for itself, and where that is not known.
        last_used_at: When a token of the principal, or of a member of the group, was last used.
        role_id: The role of one's own that it gives; None for a built-in one.
        own_rights: The rights of that role, joined by "+".
    """

    id: int
    principal_id: int
    principal: str
    kind: str
    person: str | None
    namespace: str | None
    role: str
    pattern: str
    is_legacy: bool
    created_at: int
    created_by: str | None
    last_used_at: int | None
    role_id: int | None
    own_rights: str | None


@dataclass(frozen=True, slots=True)
class NamespaceRow:
    """A namespace, its visibility, and what is in it."""

    id: int
    name: str
    visibility: Visibility
    created_at: int
    created_by: str | None
    lines: int


@dataclass(frozen=True, slots=True)
class NamespaceRequestRow:
    """A request for a namespace, with the names of who asked and who decided."""

    id: int
    name: str
    visibility: Visibility
    reason: str
    state: NamespaceRequestState
    opener_id: int
    created_at: int
    decided_at: int | None
    decision: str
    opener: str
    decider: str | None
