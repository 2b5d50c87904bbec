"""Roles: what people are in a namespace or everywhere, and the rights that each role gives.

The table below is the only one; `deltareg member` and the docs are generated from it.
"""

from collections.abc import Mapping
from enum import StrEnum

from deltareg.service.authority.grants import Right


class Role(StrEnum):
    """What somebody is in a namespace, or everywhere."""

    READER = "reader"
    PUSHER = "pusher"
    PROMOTER = "promoter"
    APPROVER = "approver"
    SERVER = "server"
    MAINTAINER = "maintainer"
    OWNER = "owner"
    BREAK_GLASS = "break-glass"
    VERIFIER = "verifier"
    ADMIN = "admin"


_TEAM = (Right.READ, Right.PUSH, Right.PROMOTE, Right.APPROVE, Right.SERVE, Right.MAINTAIN)
RIGHTS: Mapping[Role, frozenset[Right]] = {
    Role.READER: frozenset({Right.READ}),
    Role.PUSHER: frozenset({Right.READ, Right.PUSH}),
    Role.PROMOTER: frozenset({Right.READ, Right.PROMOTE}),
    Role.APPROVER: frozenset({Right.READ, Right.APPROVE}),
    Role.SERVER: frozenset({Right.READ, Right.SERVE}),
    Role.MAINTAINER: frozenset(_TEAM),
    Role.OWNER: frozenset({*_TEAM, Right.VERIFY, Right.ADMIN}),
    Role.BREAK_GLASS: frozenset({Right.READ, Right.BREAK_GLASS}),
    Role.VERIFIER: frozenset({Right.READ, Right.VERIFY}),
    Role.ADMIN: frozenset({*_TEAM, Right.VERIFY, Right.ADMIN}),
}
ONLY_EVERYWHERE = frozenset({Role.VERIFIER, Role.ADMIN})
"""Workers serve all namespaces; the admin of one is its owner."""
OF_CHANNELS = frozenset({Role.PROMOTER, Role.APPROVER, Role.SERVER, Role.BREAK_GLASS})
"""Roles that may be given on some channels alone."""
OF_LINES = OF_CHANNELS | {Role.READER, Role.PUSHER, Role.MAINTAINER}
"""Roles that may be given on some lines alone: who owns a namespace owns all of it."""
ROLE_OF: Mapping[Right, Role] = {
    Right.READ: Role.READER,
    Right.PUSH: Role.PUSHER,
    Right.PROMOTE: Role.PROMOTER,
    Right.APPROVE: Role.APPROVER,
    Right.VERIFY: Role.VERIFIER,
    Right.SERVE: Role.SERVER,
    Right.BREAK_GLASS: Role.BREAK_GLASS,
    Right.MAINTAIN: Role.MAINTAINER,
    Right.ADMIN: Role.ADMIN,
}
"""The least role that gives a right everywhere."""


def role_within(right: Right) -> Role:
    """Return the least role that gives a right in one namespace."""
    of_namespace = {Right.VERIFY: Role.PUSHER, Right.ADMIN: Role.OWNER}
    return of_namespace.get(right, ROLE_OF[right])
