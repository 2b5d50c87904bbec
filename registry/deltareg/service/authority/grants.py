"""Grants: the rights that a caller has, each with how far it reaches.

What a caller may do is what its token is for and its principal may do, both at this moment: the
scopes of a token, within the namespaces that it is limited to, with the roles of its principal
(`held`). Reading what is not private comes with any token that may read at all.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Literal

from deltareg.service.authority.resources import GeneralResource, Namespace


class Right(StrEnum):
    """What a caller may be allowed to do; on the wire and in tables, the scope of a token.

    All but `maintain`, which no token is made for: it comes with a role, to tokens for `admin`.
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
        lines: Which lines: a name in which `*` stands for anything.
        channels: Which of their channels; empty for the lines as such, with all their channels.
    """

    namespace: str
    lines: str
    channels: str = ""

    def holds_line(self, name: str) -> bool:
        """Whether a line of the namespace is among them, whichever channels are meant."""
        return fnmatchcase(name, self.lines)

    def holds_channel(self, line: str, name: str) -> bool:
        """Whether a channel is among them."""
        return self.holds_line(line) and fnmatchcase(name, self.channels or "*")


@dataclass(frozen=True, slots=True)
class NonPrivateNamespaces:
    """All namespaces that are not private."""

    private: frozenset[str]


@dataclass(frozen=True, slots=True)
class PublicNamespaces:
    """The namespaces that are public, for who is nobody here."""

    public: frozenset[str]


@dataclass(frozen=True, slots=True)
class UnclaimedNamespaces:
    """Namespaces that nobody has made yet, for who pushes first; None where any may be made."""

    limits: frozenset[str] | None = None

    def allows(self, name: str) -> bool:
        """Whether a namespace of this name may be made."""
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
        reach: All there is, or what lies in some namespaces.
    """

    right: Right
    reach: Reach = GeneralResource.EVERYTHING

    def includes(self, right: Right) -> bool:
        """Whether it gives a right where it reaches: its own, and to an admin nearly all."""
        return implies(self.right, right)


def implies(held: Right, right: Right) -> bool:
    """Whether who has a right has another with it: who is an admin has nearly all."""
    return held is right or (held is Right.ADMIN and right not in _NOT_OF_ADMINS)


def grants_of(scopes: Iterable[str]) -> frozenset[Grant]:
    """Give rights on everything: those of the registry itself, and of who holds all that it asks.

    A scope that a later release knows allows nothing here.
    """
    return frozenset(Grant(Right(scope)) for scope in scopes if scope in SCOPES)


def scopes_for(kind: str, scopes: Iterable[str]) -> tuple[str, ...]:
    """Give those scopes of a token that allow a principal of a kind anything.

    A worker reads and verifies, whatever scopes somebody has given it: who judges does not push,
    promote or approve.
    """
    return tuple(scope for scope in scopes if kind != WORKER or scope in _OF_WORKERS)
