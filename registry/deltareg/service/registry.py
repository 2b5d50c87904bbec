"""What every use case works on: the database and the store, and who is asking."""

from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.service.authority.decide import Decision, decide
from deltareg.service.authority.grants import Grant, Right
from deltareg.service.authority.refusals import hidden, refused
from deltareg.service.authority.resources import SOMEWHERE, Resource
from deltareg.service.events import Action, record_event
from deltareg.signing.keys import SigningKey
from deltareg.store import BlobStore

PACK_BYTES_MAX = 64 << 20
BASES = "bases"


@dataclass(frozen=True, slots=True)
class Registry:
    """The database and the store, and what the server signs with.

    Attributes:
        engine: The database.
        store: Where bytes lie.
        signer: The server's own key; None where it has none and signs nothing.
        recheck_share: Of the passes, how many are verified again by another worker.
    """

    engine: sa.Engine
    store: BlobStore
    signer: SigningKey | None = None
    recheck_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, with which token, and what that token allows.

    Attributes:
        principal: The name, for people and the audit trail.
        principal_id: The row.
        token_id: The token that came with the request; None for the registry itself.
        grants: What the token allows, and where.
        request_id: Ties log lines, audit rows and answers of one request together.
        is_worker: Whether it is a worker's, which takes runs and asks for none.
    """

    principal: str
    principal_id: int
    token_id: int | None
    grants: frozenset[Grant]
    request_id: str = ""
    is_worker: bool = False

    def require(self, right: Right, *, on: Resource) -> None:
        """Go on only with a right on a resource.

        Raises:
            Forbidden: The token does not give it.
            NotFound: It was asked for to read, and the resource is not the caller's to see.
        """
        match decide(self.grants, right, on):
            case Decision.ALLOWED:
                return
            case Decision.HIDDEN:
                raise hidden(on)
            case Decision.REFUSED:
                is_held = self.may(right, on=SOMEWHERE)
                raise refused(self.principal, right, on if is_held else SOMEWHERE)

    def may(self, right: Right, *, on: Resource) -> bool:
        """Whether the token gives a right on a resource."""
        return decide(self.grants, right, on) is Decision.ALLOWED

    def sees(self, on: Resource) -> bool:
        """Whether a resource is there for the caller at all: it has some right on it."""
        return any(self.may(right, on=on) for right in Right)

    def record(
        self,
        conn: sa.Connection,
        action: Action,
        subject: str,
        *,
        on: Resource,
        before: object,
        after: object,
    ) -> None:
        """Write down what the caller did, in the transaction of the change."""
        record_event(
            conn, action, subject, on=on, before=before, after=after, actor=self.principal,
            token_id=self.token_id, request_id=self.request_id,
        )  # fmt: skip


def namespace_scope(namespace: str) -> str:
    """The scope within which equal bytes are stored once."""
    return f"ns:{namespace}"
