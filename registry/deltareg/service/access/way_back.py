"""The way back in: a token that is made on the server's host when all others are lost.

It asks nobody, so it says all that a tired operator may overlook: that the name is new here, that
earlier ones of the same kind still open the door, or that the name is no person's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError

from deltareg.db.access import principals as queries
from deltareg.db.session import read
from deltareg.errors import Conflict
from deltareg.service.access.tokens import bootstrap_token
from deltareg.service.registry import Registry
from deltareg.wire import Scope

NOTE = "made on the host"


@dataclass(frozen=True, slots=True)
class RecoveryToken:
    """A token that was made.

    Attributes:
        secret: The token.
        is_new: Whether nobody had that name before.
        others: The ids of tokens that were made for the same name in this way and are still live.
    """

    secret: str
    is_new: bool
    others: Sequence[int]


def make_way_back(registry: Registry, *, principal: str, scopes: Sequence[Scope], expires_in_s: int) -> RecoveryToken:
    """Make a token for an admin. Every call makes another one; those before stay as they are.

    Raises:
        Conflict: The name is a worker's or a service's, or its principal is disabled.
    """
    with read(registry.engine) as conn:
        known = queries.principal_row(conn, principal)
        others = queries.live_tokens_noted(conn, principal, note=NOTE)
    if known is not None and known.kind != "user":
        raise Conflict(
            f"{principal} is a {known.kind}, and an admin's token is for a person", fix="name the person: --for NAME"
        )
    if known is not None and known.disabled_at is not None:
        raise Conflict(f"{principal} is disabled: none of their tokens is taken", fix="name somebody else: --for NAME")
    try:
        secret = _make(registry, principal, scopes, expires_in_s)
    except IntegrityError:  # somebody else made the first one for that name at this moment
        secret = _make(registry, principal, scopes, expires_in_s)
    return RecoveryToken(secret, known is None, others)


def _make(registry: Registry, principal: str, scopes: Sequence[Scope], expires_in_s: int) -> str:
    return bootstrap_token(
        registry, principal=principal, kind="pat", scopes=scopes, note=NOTE, expires_in_s=expires_in_s
    )
