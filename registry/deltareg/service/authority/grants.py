"""Grants: the rights of a caller, each with its reach.

A caller may do what both its token and its principal allow at this moment: the scopes of the token,
within the namespaces that it is limited to, and the roles of its principal (`held`). Any token that
may read at all may read what is not private.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Literal

from deltareg.service.authority.resources import GeneralResource, Namespace


class Right(StrEnum):
    """A right that a caller may have; on the wire and in tables, the scope of a token.

    `maintain` is no scope: a token for `admin` has it through a role of its principal.
    """

    READ = "read"
    PUSH = "push"
    PROMOTE = "promote"
    APPROVE = "approve"
    VERIFY = "verify"
    SERVE = "serve"
    BREAK_GLASS = "break-glass"
    MAINTAIN = "maintain"
    ADMIN = "admin"


_OF_ADDRESSES = frozenset({"api", "buckets", "cas", "datasets", "kernels", "models", "spaces"})
RESERVED = frozenset({"shared", "everywhere"}) | _OF_ADDRESSES
"""Names that say something already: of a namespace, or in an address below which no other is."""
SCOPES = frozenset(Right) - {Right.MAINTAIN}
_NOT_OF_ADMINS = {Right.BREAK_GLASS}
"""Whoever breaks the glass does it with a token that was made for it."""

WORKER = "worker"
"""The kind of principal that verifies and does nothing else."""
_OF_WORKERS = {Right.READ, Right.VERIFY}


@dataclass(frozen=True, slots=True)
class NamespacePart:
    """Some lines of a namespace, or some channels of them.

    Attributes:
        namespace: The namespace.
        lines: The lines, as a name in which `*` stands for anything.
        channels: Which of their channels; empty for whole lines with all their channels.
    """

    namespace: str
    lines: str
    channels: str = ""

    def holds_line(self, name: str) -> bool:
        """Whether the part includes a line of this name, whichever channels it is limited to."""
        return fnmatchcase(name, self.lines)

    def holds_channel(self, line: str, name: str) -> bool:
        """Whether the part includes a channel."""
        return self.holds_line(line) and fnmatchcase(name, self.channels or "*")


@dataclass(frozen=True, slots=True)
class NonPrivateNamespaces:
    """All namespaces that are not private."""

    private: frozenset[str]


@dataclass(frozen=True, slots=True)
class PublicNamespaces:
    """The namespaces that are public, for callers without a token."""

    public: frozenset[str]


@dataclass(frozen=True, slots=True)
class UnclaimedNamespaces:
    """Namespaces that nobody has created yet, for whoever pushes first; None for any of them."""

    limits: frozenset[str] | None = None

    def allows(self, name: str) -> bool:
        """Whether a namespace of this name may be created."""
        return name not in RESERVED and (self.limits is None or name in self.limits)


Reach = (
    Namespace
    | NamespacePart
    | NonPrivateNamespaces
    | PublicNamespaces
    | UnclaimedNamespaces
    | Literal[GeneralResource.EVERYTHING]
)


@dataclass(frozen=True, slots=True)
class Grant:
    """A right and where it holds.

    Attributes:
        right: The right.
        reach: Everything, or what lies in some namespaces.
    """

    right: Right
    reach: Reach = GeneralResource.EVERYTHING

    def includes(self, right: Right) -> bool:
        """Whether the grant includes a right: its own, and for an admin nearly all."""
        return implies(self.right, right)


def implies(held: Right, right: Right) -> bool:
    """Whether holding one right implies another; an admin has nearly all."""
    return held is right or (held is Right.ADMIN and right not in _NOT_OF_ADMINS)


def grants_of(scopes: Iterable[str]) -> frozenset[Grant]:
    """Return the rights of scopes as grants on everything, for callers like the registry itself.

    A scope that only a later release knows allows nothing here.
    """
    return frozenset(Grant(Right(scope)) for scope in scopes if scope in SCOPES)


def scopes_for(kind: str, scopes: Iterable[str]) -> tuple[str, ...]:
    """Return the scopes of a token that are of any use to a principal of a kind.

    A worker only reads and verifies, whatever scopes it was given: whoever judges does not push,
    promote or approve.
    """
    return tuple(scope for scope in scopes if kind != WORKER or scope in _OF_WORKERS)
