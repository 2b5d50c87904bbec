"""Who is who and may do what in a registry, as one document: what `apply` reads from files and sends."""

from typing import Annotated, Literal

from pydantic import Field

from deltareg.wire.access import Name
from deltareg.wire.messages import Answer, Request
from deltareg.wire.quotas import Limits
from deltareg.words import AccessVerb, Visibility

GivenRoles = Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=64)]
"""Roles as files write them: `promoter`, or with its lines or channels `promoter chat-*@prod`."""
Rights = Annotated[list[Name], Field(min_length=1, max_length=16)]
AccessSubject = Literal["person", "service", "group", "role", "namespace", "member", "quota"]
"""What a file declares."""


class DeclaredService(Request):
    """A service account, and the person or the group that owns it."""

    owner: Name


class DeclaredGroup(Request):
    """A group: its members, or the sign-in provider that keeps them."""

    members: Annotated[list[Name], Field(max_length=2_000)] = []
    source: Annotated[str, Field(max_length=64)] = ""


class DeclaredNamespace(Request):
    """A namespace; what is None is left as it is, and what is empty is empty."""

    visibility: Visibility | None = None
    roles: dict[Name, Rights] | None = None
    members: dict[Name, GivenRoles] | None = None
    quota: Limits | None = None


class DeclaredQuota(Request):
    """The limits that are of no one namespace.

    Attributes:
        namespaces: Those of each namespace that has none of its own.
        people: Those of each person that has none of their own.
        principals: Those of some people and service accounts.
    """

    namespaces: Limits | None = None
    people: Limits | None = None
    principals: dict[Name, Limits] | None = None


class AccessDocument(Request):
    """Everything about access that a folder declares; what is None it says nothing about.

    Attributes:
        services: Service accounts.
        groups: Groups.
        roles: Roles of one's own for all namespaces.
        everywhere: Who holds which roles everywhere.
        quota: Limits of all namespaces, of all people, and of some.
        namespaces: Namespaces, with their own roles, members and limits.
    """

    services: dict[Name, DeclaredService] | None = None
    groups: dict[Name, DeclaredGroup] | None = None
    roles: dict[Name, Rights] | None = None
    everywhere: dict[Name, GivenRoles] | None = None
    quota: DeclaredQuota | None = None
    namespaces: dict[Name, DeclaredNamespace] = {}


class AccessApply(Request):
    """A document that a registry is to match.

    Attributes:
        prune: Whether what it does not declare is taken away, where it declares the rest.
        dry_run: Whether nothing is changed.
    """

    document: AccessDocument
    prune: bool = False
    dry_run: bool = False


class AccessChange(Answer):
    """One thing that was changed, or would be; `before` and `after` are as a file writes them."""

    kind: AccessSubject
    of: str
    action: AccessVerb
    before: dict[str, object]
    after: dict[str, object]


class AccessKept(Answer):
    """Something that the document does not declare and that stays, and the command that takes it away.

    Attributes:
        is_own: The caller holds it, or by it: it is never pruned.
    """

    kind: AccessSubject
    of: str
    command: str
    is_own: bool = False


class AccessPlan(Answer):
    """What applying a document changed, or would change.

    Attributes:
        unchanged: How many things match already.
        is_checked: Whether the changes were tried with the caller's rights; a caller of a dry run who
            lacks some learns what would change, and not whether it would be allowed.
        refusal: Why a change would not be allowed.
    """

    changes: list[AccessChange]
    kept: list[AccessKept]
    unchanged: int
    is_checked: bool
    refusal: str = ""
