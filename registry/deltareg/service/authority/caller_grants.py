"""From the scopes of a token and the roles of its principal to the grants of a caller."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from deltareg.service.authority.grants import (
    SCOPES,
    Grant,
    NamespacePart,
    NonPrivateNamespaces,
    Reach,
    Right,
    UnclaimedNamespaces,
    implies,
)
from deltareg.service.authority.resources import GeneralResource, Namespace
from deltareg.service.authority.roles import RIGHTS, read_rights

_Limits = frozenset[str] | None


@dataclass(frozen=True, slots=True)
class HeldRole:
    """A role of a principal and where it holds.

    Attributes:
        role: The name of the role.
        rights: What the role gives.
        namespace: Where it holds; None for everywhere.
        pattern: Which lines of the namespace, `bert-*`, or which channels, `bert-*@prod`; empty for
            all.
    """

    role: str
    rights: frozenset[Right]
    namespace: str | None = None
    pattern: str = ""

    @classmethod
    def read(cls, text: str) -> Self:
        """Parse a role as the database writes it: `role namespace pattern`, separated by spaces.

        A role of one's own is written with its rights; a built-in one that only a later release knows
        gives none.
        """
        name, namespace, pattern = text.split(" ")
        role, is_own, rights = name.partition(":")
        held = read_rights(rights) if is_own else RIGHTS.get(role, frozenset[Right]())
        return cls(role, held, namespace or None, pattern)

    @property
    def reach(self) -> Reach:
        """How far the role reaches."""
        if self.namespace is None:
            return GeneralResource.EVERYTHING
        if not self.pattern:
            return Namespace(self.namespace)
        lines, _, channels = self.pattern.partition("@")
        return NamespacePart(self.namespace, lines, channels)

    @property
    def grants(self) -> list[Grant]:
        """The grants that come with the role."""
        return [Grant(right, self.reach) for right in self.rights]

    def __str__(self) -> str:
        """Format it for people: `promoter of team, bert-*@prod`, `admin everywhere`."""
        if self.namespace is None:
            return f"{self.role} everywhere"
        return f"{self.role} of {self.namespace}" + (f", {self.pattern}" if self.pattern else "")


@lru_cache(maxsize=4096)
def grants_of_token(
    scopes: tuple[str, ...], held: str, limits: tuple[str, ...] | None, private: frozenset[str]
) -> frozenset[Grant]:
    """Return all that a token allows.

    Args:
        scopes: The scopes of the token.
        held: The roles of its principal, as the database writes them.
        limits: The namespaces that it is limited to; None for no limit.
        private: The namespaces that only their members see.
    """
    token_scopes, within = frozenset(scopes), None if limits is None else frozenset(limits)
    grants = grants_within(token_scopes, read_holdings(held), within)
    return grants | grants_by_sight(token_scopes, private, within)


@lru_cache(maxsize=4096)
def read_holdings(text: str) -> tuple[HeldRole, ...]:
    """Parse the roles of a principal, separated by commas; roles of a later release are left out."""
    holdings = [HeldRole.read(part) for part in text.split(",") if part]
    return tuple(holding for holding in holdings if holding.rights)


@lru_cache(maxsize=4096)
def grants_within(scopes: frozenset[str], holdings: tuple[HeldRole, ...], limits: _Limits) -> frozenset[Grant]:
    """Return what a token allows because of the roles of its principal.

    Args:
        scopes: The scopes of the token.
        holdings: The roles.
        limits: The namespaces that the token is limited to; None for no limit.
    """
    rights = [Right(scope) for scope in scopes if scope in SCOPES]
    grants = {
        Grant(grant.right, reach)
        for holding in holdings
        for grant in holding.grants
        if any(implies(scope, grant.right) for scope in rights)
        for reach in _limit_reach(grant.reach, limits)
    }
    if any(implies(scope, Right.PUSH) for scope in rights):
        grants.add(Grant(Right.PUSH, UnclaimedNamespaces(limits)))
    return frozenset(grants)


@lru_cache(maxsize=256)
def grants_by_sight(scopes: frozenset[str], private: frozenset[str], limits: _Limits) -> frozenset[Grant]:
    """Return what a token may read because it is not private."""
    if not any(implies(Right(scope), Right.READ) for scope in scopes if scope in SCOPES):
        return frozenset()
    return frozenset(Grant(Right.READ, reach) for reach in _limit_reach(NonPrivateNamespaces(private), limits))


def _limit_reach(reach: Reach, limits: _Limits) -> Iterable[Reach]:
    """Narrow a reach to the namespaces that a token is limited to."""
    if limits is None:
        return [reach]
    match reach:
        case Namespace():
            return [reach] if reach.name in limits else []
        case NamespacePart():
            return [reach] if reach.namespace in limits else []
        case NonPrivateNamespaces():
            return [Namespace(name) for name in limits - reach.private]
        case _:
            return [Namespace(name) for name in limits]
