"""Principals, tokens and server information."""

from typing import Annotated

from pydantic import Field

from deltareg.wire.messages import API, Answer, Request, Text
from deltareg.words import Role, Scope, TokenKind, Visibility

Name = Annotated[str, Field(max_length=64)]


class WhoAmI(Answer):
    """Whose token this is, what it is for, and what its principal may do.

    It allows what both allow. Without `namespaces` it is limited to none.
    """

    principal: str
    kind: str
    scopes: list[Scope]
    token_id: int
    expires_at: str | None
    namespaces: list[str] | None = None
    roles: list[str] = []


class Meta(Answer):
    """What this server is and allows.

    `disputes` counts the verdicts that a second worker did not find, until a key of the two is
    revoked.
    """

    version: str
    api: str = API
    database: str
    store: str
    pack_bytes_max: int
    suites: list[str]
    disputes: int = 0


class TokenCreate(Request):
    """A new token for a named principal.

    With `everywhere` its principal is given what it lacks of the scopes, on everything; with false
    nothing is given. Clients of the release before do not say, and it is as with true.
    """

    principal: Name
    kind: TokenKind = "pat"
    scopes: list[Scope] = ["read"]
    expires_in_s: Annotated[int, Field(gt=0, le=366 * 86_400)] = 90 * 86_400
    note: Text = ""
    namespaces: Annotated[list[Name], Field(min_length=1, max_length=64)] | None = None
    everywhere: bool | None = None


class TokenInfo(Answer):
    """A token without its secret."""

    id: int
    display: str
    principal: str
    kind: TokenKind
    scopes: list[Scope]
    note: str
    created_at: str
    created_by: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    namespaces: list[str] | None = None


class TokenCreated(TokenInfo):
    """A token with its secret, shown this once.

    Its principal holds no role yet that allows the scopes in `lacking`.
    """

    token: Annotated[str, Field(repr=False)]
    lacking: list[Scope] = []


class SessionOpened(Answer):
    """A code to log a browser in with at `/ui/login`, once and within `expires_in_s` seconds."""

    code: Annotated[str, Field(repr=False)]
    expires_in_s: int


class SessionInfo(Answer):
    """A browser that somebody is logged in with, by which token, since when and until when."""

    id: int
    token_id: int
    browser: str
    begun_at: str
    used_at: str
    expires_at: str


class MemberAdd(Request):
    """A role for a principal: in a namespace, or everywhere without one.

    `pattern` names the lines, `bert-*`, or the channels, `bert-*@prod`, that it is about.
    """

    principal: Name
    role: Role
    namespace: Name | None = None
    pattern: Annotated[str, Field(max_length=130)] = ""


class MemberInfo(Answer):
    """A role that a principal holds.

    Attributes:
        id: Its number.
        principal: Whose it is.
        kind: `user`, `service` or `worker`.
        person: Who stands behind a script or a worker, as far as that is known.
        namespace: Where; none is everywhere.
        role: The role.
        rights: What comes with it.
        pattern: The lines or channels that it is about; empty for all.
        is_legacy: It is from a token of the release before.
        given_by: Who gave it.
        given_at: When.
        last_used_at: When a token of the principal was last used.
    """

    id: int
    principal: str
    kind: str
    person: str | None
    namespace: str | None
    role: Role
    rights: list[str]
    pattern: str
    is_legacy: bool
    given_by: str
    given_at: str
    last_used_at: str | None


class NamespaceCreate(Request):
    """A namespace with nothing in it; who makes it owns it."""

    name: Name
    visibility: Visibility = "internal"


class NamespaceChange(Request):
    """How visible a namespace is to be."""

    visibility: Visibility


class NamespaceInfo(Answer):
    """A namespace: who owns it, who sees it, how many deltas are in it."""

    name: str
    visibility: Visibility
    owners: list[str]
    deltas: int
    created_at: str
    created_by: str


class AccessReason(Answer):
    """One thing that allows what was asked, or that keeps it from being allowed."""

    is_met: bool
    what: str


class AccessAnswer(Answer):
    """Whether a principal may do something now, why, and what would give it."""

    principal: str
    action: str
    ref: str
    allowed: bool
    because: list[AccessReason]
    fix: str


class AccessFinding(Answer):
    """A role under review: who holds it, and which parts of it seem excessive."""

    member: MemberInfo
    findings: list[str]
    fix: str
