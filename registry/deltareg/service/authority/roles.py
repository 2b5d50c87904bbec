"""Roles: what people are in a namespace or everywhere, and the rights that each role gives.

The table below is the only one of built-in roles; `deltareg member` and the docs are generated from
it. A role of one's own is a set of rights with a name, which the database keeps.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from deltareg.errors import InvalidInput
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


BUILT_IN = frozenset(Role)
_TEAM = (Right.READ, Right.PUSH, Right.PROMOTE, Right.APPROVE, Right.SERVE, Right.MAINTAIN)
RIGHTS: Mapping[str, frozenset[Right]] = {
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


_OF_CHANNELS = frozenset({Right.READ, Right.PROMOTE, Right.APPROVE, Right.SERVE, Right.BREAK_GLASS})
OF_OWN_ROLES = _OF_CHANNELS | {Right.PUSH, Right.MAINTAIN}
"""The rights that a role of one's own may give: who verifies is a worker, who has `admin` an owner."""


def join_rights(rights: Iterable[str]) -> str:
    """Write the rights of a role of one's own as its row keeps them; whoever has it reads.

    Raises:
        InvalidInput: It gives none but to read, or one that is no right of such a role.
    """
    wanted = {*rights} - {Right.READ.value}
    if not wanted:
        raise InvalidInput("this role gives nothing but to read", fix="the role reader does; or name a right")
    for right in sorted(wanted - {*OF_OWN_ROLES}):
        named = {"admin": "it is what the role owner gives", "verify": "it is what the role verifier gives"}
        choices = ", ".join(sorted(OF_OWN_ROLES))
        raise InvalidInput(
            f"{right[:40]!r} is no right of a role of your own", fix=named.get(right, f"one of {choices}")
        )
    return "+".join(sorted({*wanted, Right.READ.value}))


def read_rights(text: str) -> frozenset[Right]:
    """Return the rights of a role of one's own from its row; those of a later release are left out."""
    return frozenset(Right(right) for right in text.split("+") if right in OF_OWN_ROLES)


def is_of_channels(rights: Iterable[Right]) -> bool:
    """Whether a role with these rights may be given on some channels alone."""
    return _OF_CHANNELS.issuperset(rights)
