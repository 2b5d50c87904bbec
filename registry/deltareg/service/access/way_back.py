"""The way back in: an admin token made on the server's host when all others are lost.

It asks for no permission, so it points out what a tired operator may overlook: that the name is new
here, that earlier recovery tokens are still live, or that the name is not a person's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from deltareg.db.access import principals as queries
from deltareg.db.session import read
from deltareg.errors import Conflict
from deltareg.service.access.tokens import bootstrap_token
from deltareg.service.registry import Registry
from deltareg.wire import Scope

NOTE = "made on the host"


@dataclass(frozen=True, slots=True)
class RecoveryToken:
    """A recovery token that was created.

    Attributes:
        secret: The token.
        is_new: Whether nobody had that name before.
        others: The ids of earlier recovery tokens for the same name that are still live.
    """

    secret: str
    is_new: bool
    others: Sequence[int]


def make_way_back(registry: Registry, *, principal: str, scopes: Sequence[Scope], expires_in_s: int) -> RecoveryToken:
    """Create a token for an admin. Every call creates another one; earlier ones stay as they are.

    Raises:
        Conflict: The name belongs to a worker or a service, or its principal is disabled.
    """
    with read(registry.engine) as conn:
        existing = queries.principal_row(conn, principal)
        others = queries.live_tokens_noted(conn, principal, note=NOTE)
    if existing is not None and existing.kind != "user":
        raise Conflict(
            f"{principal} is a {existing.kind}, and an admin's token is for a person", fix="name the person: --for NAME"
        )
    if existing is not None and existing.disabled_at is not None:
        raise Conflict(f"{principal} is disabled: none of their tokens is taken", fix="name somebody else: --for NAME")
    secret = bootstrap_token(
        registry, principal=principal, kind="pat", scopes=scopes, note=NOTE, expires_in_s=expires_in_s
    )
    return RecoveryToken(secret, existing is None, others)
