"""What every use case works on: the database and the store, and who is asking."""

from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.queries.audit import record_audit
from deltareg.errors import Forbidden
from deltareg.store import BlobStore
from deltareg.wire import Scope

PACK_BYTES_MAX = 64 << 20
BASES = "bases"
_NOT_OF_ADMINS = {"break-glass"}


@dataclass(frozen=True, slots=True)
class Registry:
    """The database and the store."""

    engine: sa.Engine
    store: BlobStore


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, with which token, and what that token allows.

    Attributes:
        principal: The name, for people and the audit trail.
        principal_id: The row.
        token_id: The token that came with the request; None for the registry itself.
        scopes: What the token allows.
        request_id: Ties log lines, audit rows and answers of one request together.
    """

    principal: str
    principal_id: int
    token_id: int | None
    scopes: frozenset[str]
    request_id: str = ""

    def require(self, scope: Scope) -> None:
        """Go on only with a scope; `admin` includes every other but `break-glass`.

        Whoever breaks the glass does it with a token that was made for it.

        Raises:
            Forbidden: The token does not have it.
        """
        is_implied = "admin" in self.scopes and scope not in _NOT_OF_ADMINS
        if scope not in self.scopes and not is_implied:
            raise Forbidden(
                f"this token of {self.principal} does not allow {scope!r}",
                fix=f"ask for one: deltareg token create --for {self.principal} --scope {scope}",
            )

    def record(
        self, conn: sa.Connection, action: str, subject: str, *, before: object, after: object
    ) -> None:
        """Append to the audit trail in the transaction of the change."""
        record_audit(
            conn, actor=self.principal, token_id=self.token_id, action=action, subject=subject,
            before=before, after=after, request_id=self.request_id,
        )  # fmt: skip


def namespace_scope(namespace: str) -> str:
    """The scope within which equal bytes are stored once."""
    return f"ns:{namespace}"
