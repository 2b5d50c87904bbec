"""Grants: the rights that a caller has, each with how far it reaches.

The scopes of a token are rights on everything. A grant that reaches one namespace is known here and
to `decide`, and to nobody else: no token can have one yet.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from deltareg.service.authority.resources import Namespace, Whole


class Right(StrEnum):
    """What a caller may be allowed to do; on the wire and in tables, the scope of a token."""

    READ = "read"
    PUSH = "push"
    PROMOTE = "promote"
    APPROVE = "approve"
    VERIFY = "verify"
    SERVE = "serve"
    BREAK_GLASS = "break-glass"
    ADMIN = "admin"


_RIGHTS = frozenset(Right)
_NOT_OF_ADMINS = {Right.BREAK_GLASS}
"""Whoever breaks the glass does it with a token that was made for it."""

WORKER = "worker"
"""The kind of principal that verifies and does nothing else."""
_OF_WORKERS = {Right.READ, Right.VERIFY}

Reach = Namespace | Literal[Whole.EVERYTHING]


@dataclass(frozen=True, slots=True)
class Grant:
    """A right and where it holds.

    Attributes:
        right: The right.
        reach: All there is, or what lies in one namespace.
    """

    right: Right
    reach: Reach = Whole.EVERYTHING

    def includes(self, right: Right) -> bool:
        """Whether it gives a right where it reaches: its own, and to an admin nearly all."""
        is_implied = self.right is Right.ADMIN and right not in _NOT_OF_ADMINS
        return self.right is right or is_implied


def grants_of(scopes: Iterable[str]) -> frozenset[Grant]:
    """Give what the scopes of a token allow: each is a right on everything.

    A scope that a later release knows allows nothing here.
    """
    return frozenset(Grant(Right(scope)) for scope in scopes if scope in _RIGHTS)


def grants_of_principal(kind: str, scopes: Iterable[str]) -> frozenset[Grant]:
    """Give what the scopes of a token allow a principal of a kind.

    A worker reads and verifies, whatever scopes somebody has given it: who judges does not push,
    promote or approve.
    """
    held = grants_of(scopes)
    if kind != WORKER:
        return held
    return frozenset(grant for grant in held if grant.right in _OF_WORKERS)
