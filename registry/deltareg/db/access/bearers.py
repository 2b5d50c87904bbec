"""The token of a request: whether it is live, and the one answer its bearer asks for, in one query.

The statements are prepared once; a request that asks for one thing costs one statement.
"""

from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import sqlalchemy as sa

from deltareg.db.access.grants import held_by
from deltareg.db.access.namespaces import EPOCH
from deltareg.db.access.rows import LiveTokenRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.prepared import PreparedQuery, PreparedStatement, check_order
from deltareg.db.tables import principals, tokens

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")

_WIDTH: Final = len(fields(LiveTokenRow))
_token: Callable[..., LiveTokenRow] = LiveTokenRow


def live_token(conn: sa.Connection, token_hash: str) -> LiveTokenRow | None:
    """Find a token that is neither revoked nor expired, of a principal that is not disabled."""
    return _LIVE_TOKEN.one(conn, token_hash=token_hash)


class BearerQuery(Generic[R]):
    """A query that is run for the bearer of a live token, in one statement with that token."""

    def __init__(self, query: sa.Select[*tuple[Any, ...]], row: type[R], *, key: str, order: str) -> None:
        """Describe the query; it is compiled on first use, as in `PreparedStatement`.

        Args:
            query: The query; what varies in it is a `bindparam` with a name.
            row: A dataclass whose fields are the query's columns, in the same order.
            key: A column of it that is never null.
            order: The column by which its rows are ordered.

        Raises:
            TypeError: Fields and columns differ.
        """
        check_order(query, row)
        answer = query.subquery("found")
        joined = _by_hash().add_columns(*answer.c).outerjoin(answer, sa.true())
        self._statement = PreparedStatement(joined.order_by(answer.c[order]))
        self._make: Callable[..., R] = row
        self._key = _WIDTH + list(answer.c.keys()).index(key)

    def all(self, conn: sa.Connection, token_hash: str, **given: object) -> tuple[LiveTokenRow | None, list[R]]:
        """Run the query; return the token, None if it is not live, and the rows, possibly none.

        The caller still has to check whether the bearer may see the rows.
        """
        rows = self._statement.run(conn, {"token_hash": token_hash, **given})
        if not rows:
            return None, []
        answers = [self._make(*row[_WIDTH:]) for row in rows if row[self._key] is not None]
        return _token(*rows[0][:_WIDTH]), answers


def select_live_tokens() -> sa.Select[*tuple[Any, ...]]:
    """Start a query for live tokens, with the columns in the order of `LiveTokenRow`."""
    return (
        sa.select(
            tokens.c.id,
            tokens.c.kind,
            tokens.c.scopes,
            tokens.c.expires_at,
            tokens.c.last_used_at,
            principals.c.id.label("principal_id"),
            principals.c.name.label("principal"),
            principals.c.kind.label("principal_kind"),
            now_us().label("now"),
            tokens.c.namespaces,
            held_by(principals.c.id).label("held"),
            EPOCH.label("epoch"),
        )
        .join(principals, principals.c.id == tokens.c.principal_id)
        .where(
            tokens.c.revoked_at.is_(None),
            principals.c.disabled_at.is_(None),
            sa.or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > now_us()),
        )
    )


def _by_hash() -> sa.Select[*tuple[Any, ...]]:
    return select_live_tokens().where(tokens.c.token_hash == sa.bindparam("token_hash"))


_LIVE_TOKEN: Final = PreparedQuery(_by_hash(), LiveTokenRow)
