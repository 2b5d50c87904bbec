"""Principals, tokens and server information."""

from typing import Annotated

from pydantic import Field

from deltareg.wire.interface import API
from deltareg.wire.messages import Answer, Request, Text
from deltareg.words import NamespaceRequestState, Scope, TokenKind, Visibility

Name = Annotated[str, Field(max_length=64)]


class WhoAmI(Answer):
    """Whose token this is, what it is for, and what its principal may do.

    It allows what both allow. Without `namespaces` it is limited to none. `acts_for` names the owner of
    a service account or a machine, `people` everybody who counts as the same person in a rule.
    """

    principal: str
    kind: str
    scopes: list[Scope]
    token_id: int
    expires_at: str | None
    namespaces: list[str] | None = None
    roles: list[str] = []
    acts_for: str | None = None
    people: list[str] = []


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

    Admins make tokens for everybody. Owners of namespaces make them, limited to these, for service
    accounts of their own. Everybody makes narrower ones for themselves.

    Attributes:
        principal: Whose it is.
        kind: Who uses it.
        scopes: What it is for.
        expires_in_s: After how many seconds it ends.
        note: What it is for, for people.
        namespaces: The namespaces that it is limited to.
        everywhere: Whether its principal is given what it lacks of the scopes, on everything.
        acts_for: The person or the group whose a service account or a machine is: who holds its
            secret. The first token of a service account has to say it; a machine is without it
            whoever's makes its first token. Whoever makes another token without it counts as behind it, too.
    """

    principal: Name
    kind: TokenKind = "pat"
    scopes: list[Scope] = ["read"]
    expires_in_s: Annotated[int, Field(gt=0, le=366 * 86_400)] = 90 * 86_400
    note: Text = ""
    namespaces: Annotated[list[Name], Field(min_length=1, max_length=64)] | None = None
    everywhere: bool | None = None
    acts_for: Name | None = None


class TokenRenew(Request):
    """The token in use is to be renewed, for the same scopes or for some of them."""

    scopes: Annotated[list[Scope], Field(min_length=1)] | None = None


class TokenInfo(Answer):
    """A token without its secret; `people` are those who stand behind a script or a worker."""

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
    people: list[str] = []


class TokenCreated(TokenInfo):
    """A token with its secret, shown this once.

    Its principal holds no role yet that allows the scopes in `lacking`, and `warnings` say so where the
    request did not say whether it is to be given any: servers of a release before gave them.
    """

    token: Annotated[str, Field(repr=False)]
    lacking: list[Scope] = []
    warnings: list[str] = []


class PrincipalGive(Request):
    """The person or the group that is to own a service account or a machine."""

    to: Name


class LeftThing(Answer):
    """Something that a principal leaves to others, and the command that takes it over."""

    kind: str
    name: str
    fix: str


class PrincipalInfo(Answer):
    """A person, a service account, a machine or a group, and what there is of it.

    Attributes:
        name: Its name.
        kind: What it is.
        disabled_at: Since when it is disabled.
        acts_for: The owner of a service account or a machine.
        people: Who counts as the same person as a script or a worker, in a rule about people.
        tokens: Its live tokens.
        sessions: In how many browsers it is logged in.
        roles: What it holds.
        owns: The service accounts and machines that are its own.
        leaves: What somebody else has to take over if it goes.
    """

    name: str
    kind: str
    disabled_at: str | None = None
    acts_for: str | None = None
    people: list[str] = []
    tokens: list[TokenInfo] = []
    sessions: int = 0
    roles: list[str] = []
    owns: list[str] = []
    leaves: list[LeftThing] = []


class PrincipalEntry(Answer):
    """A principal in a list."""

    name: str
    kind: str
    disabled_at: str | None
    acts_for: str | None


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
    """A role for a principal or a group: in a namespace, or everywhere without one.

    `pattern` names the lines, `bert-*`, or the channels, `bert-*@prod`, that it is about.
    """

    principal: Name
    role: Name
    namespace: Name | None = None
    pattern: Annotated[str, Field(max_length=130)] = ""


class MemberInfo(Answer):
    """A role that a principal holds.

    Attributes:
        id: Its number.
        principal: Whose it is.
        kind: `user`, `service`, `worker` or `group`.
        person: Who stands behind a script or a worker, as far as that is known.
        namespace: Where; none is everywhere.
        role: The role.
        rights: What comes with it.
        pattern: The lines or channels that it is about; empty for all.
        is_legacy: It is from a token of the release before.
        given_by: Who gave it.
        given_at: When.
        last_used_at: When a token of the principal, or of a member of the group, was last used.
    """

    id: int
    principal: str
    kind: str
    person: str | None
    namespace: str | None
    role: str
    rights: list[str]
    pattern: str
    is_legacy: bool
    given_by: str
    given_at: str
    last_used_at: str | None


class NamespaceCreate(Request):
    """A namespace with nothing in it; who makes it owns it.

    Where admins alone make namespaces, it is a request to them, and `reason` tells them what for.
    """

    name: Name
    visibility: Visibility = "internal"
    reason: Text = ""


class NamespaceDecide(Request):
    """Why a request for a namespace is granted or refused."""

    reason: Text = ""


class NamespaceRequestInfo(Answer):
    """A request for a namespace: who asked for which, and what became of it."""

    id: int
    name: str
    visibility: Visibility
    opener: str
    reason: str
    opened_at: str
    state: NamespaceRequestState
    decided_by: str | None
    decided_at: str | None
    decision: str


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
