"""From what a token is for and what its principal holds to the grants of a caller."""

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
from deltareg.service.authority.roles import RIGHTS, Role

_Limits = frozenset[str] | None


@dataclass(frozen=True, slots=True)
class HeldRole:
    """A role of a principal and where it has it.

    Attributes:
        role: The role.
        namespace: Where; None for everywhere.
        pattern: Which lines of it, `bert-*`, or which channels, `bert-*@prod`; empty for all.
    """

    role: Role
    namespace: str | None = None
    pattern: str = ""

    @classmethod
    def read(cls, text: str) -> Self:
        """Read one as the database writes it: `role namespace pattern`, parted by spaces."""
        role, namespace, pattern = text.split(" ")
        return cls(Role(role), namespace or None, pattern)

    @property
    def reach(self) -> Reach:
        """How far it reaches."""
        if self.namespace is None:
            return GeneralResource.EVERYTHING
        if not self.pattern:
            return Namespace(self.namespace)
        lines, _, channels = self.pattern.partition("@")
        return NamespacePart(self.namespace, lines, channels)

    @property
    def grants(self) -> list[Grant]:
        """The rights that come with it."""
        return [Grant(right, self.reach) for right in RIGHTS[self.role]]

    def __str__(self) -> str:
        """Write it for people: `promoter of team, bert-*@prod`, `admin everywhere`."""
        if self.namespace is None:
            return f"{self.role} everywhere"
        return f"{self.role} of {self.namespace}" + (f", {self.pattern}" if self.pattern else "")


@lru_cache(maxsize=4096)
def grants_of_token(
    scopes: tuple[str, ...], held: str, limits: tuple[str, ...] | None, private: frozenset[str]
) -> frozenset[Grant]:
    """Give all that a token allows.

    Args:
        scopes: What the token is for.
        held: What its principal holds, as the database writes it.
        limits: The namespaces that it is limited to; None for no limit.
        private: The namespaces that are seen by their members alone.
    """
    wanted, within = frozenset(scopes), None if limits is None else frozenset(limits)
    grants = grants_within(wanted, read_holdings(held), within)
    return grants | grants_by_sight(wanted, private, within)


@lru_cache(maxsize=4096)
def read_holdings(text: str) -> tuple[HeldRole, ...]:
    """Read the roles of a principal as one text, parted by commas; a role of later is left out."""
    known = {role.value for role in Role}
    parts = [part for part in text.split(",") if part.partition(" ")[0] in known]
    return tuple(HeldRole.read(part) for part in parts)


@lru_cache(maxsize=4096)
def grants_within(scopes: frozenset[str], holdings: tuple[HeldRole, ...], limits: _Limits) -> frozenset[Grant]:
    """Give what a token allows because of the roles of its principal.

    Args:
        scopes: What the token is for.
        holdings: The roles.
        limits: The namespaces that the token is limited to; None for no limit.
    """
    wanted = [Right(scope) for scope in scopes if scope in SCOPES]
    found = {
        Grant(grant.right, reach)
        for holding in holdings
        for grant in holding.grants
        if any(implies(scope, grant.right) for scope in wanted)
        for reach in _limit_reach(grant.reach, limits)
    }
    if any(implies(scope, Right.PUSH) for scope in wanted):
        found.add(Grant(Right.PUSH, UnclaimedNamespaces(limits)))
    return frozenset(found)


@lru_cache(maxsize=256)
def grants_by_sight(scopes: frozenset[str], private: frozenset[str], limits: _Limits) -> frozenset[Grant]:
    """Give what a token may read because it is not private."""
    if not any(implies(Right(scope), Right.READ) for scope in scopes if scope in SCOPES):
        return frozenset()
    return frozenset(Grant(Right.READ, reach) for reach in _limit_reach(NonPrivateNamespaces(private), limits))


def _limit_reach(reach: Reach, limits: _Limits) -> Iterable[Reach]:
    """Keep a reach within the namespaces that a token is limited to."""
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
