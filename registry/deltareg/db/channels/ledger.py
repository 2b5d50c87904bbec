"""A channel's ledger as rollbacks read it: which version was served how far back, by index.

No query reads more of the ledger than was asked for, however long it is.
"""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from deltareg.db.channels.rows import LedgerRow
from deltareg.db.sql.fetch import fetch_one
from deltareg.db.sql.prepared import PreparedQuery
from deltareg.db.tables import channels, revisions, versions

_MOVES = revisions.c.kind.in_(["promote", "rollback"])


def ledger_rows(conn: sa.Connection, channel_id: int, *, limit: int) -> Sequence[LedgerRow]:
    """List the newest entries of a ledger, newest first."""
    return _NEWEST.all(conn, channel_id=channel_id, most=limit)


def entry_of_version(conn: sa.Connection, channel_id: int, number: int) -> LedgerRow | None:
    """Find the newest entry by which a channel served a version of its line, by the version's number."""
    of_line = sa.select(channels.c.delta_id).where(channels.c.id == channel_id).scalar_subquery()
    is_it = sa.and_(versions.c.delta_id == of_line, versions.c.number == number)
    version_id = sa.select(versions.c.id).where(is_it).scalar_subquery()
    query = _select().where(revisions.c.channel_id == channel_id, revisions.c.version_id == version_id)
    return fetch_one(conn, query.order_by(revisions.c.number.desc()).limit(1), LedgerRow)


def entry_at(conn: sa.Connection, channel_id: int, number: int) -> LedgerRow | None:
    """Find an entry by its number."""
    query = _select().where(revisions.c.channel_id == channel_id, revisions.c.number == number)
    return fetch_one(conn, query, LedgerRow)


def moves_since(conn: sa.Connection, channel_id: int, number: int, *, most: int) -> int:
    """Count the moves after an entry, up to `most`."""
    later = (
        sa.select(revisions.c.number)
        .where(revisions.c.channel_id == channel_id, revisions.c.number > number, _MOVES)
        .order_by(revisions.c.number)
        .limit(most)
        .subquery()
    )
    return int(conn.execute(sa.select(sa.func.count()).select_from(later)).scalar_one())


def left_at(conn: sa.Connection, channel_id: int, version_id: int) -> int | None:
    """Return when a channel last moved away from a version; None if it never did."""
    last = (
        sa.select(revisions.c.number)
        .where(revisions.c.channel_id == channel_id, revisions.c.version_id == version_id, _MOVES)
        .order_by(revisions.c.number.desc())
        .limit(1)
    )
    number = conn.execute(last).scalar()
    if number is None:
        return None
    next_move = (
        sa.select(revisions.c.created_at)
        .where(revisions.c.channel_id == channel_id, revisions.c.number > number, _MOVES)
        .order_by(revisions.c.number)
        .limit(1)
    )
    return conn.execute(next_move).scalar()


def _select() -> sa.Select[*tuple[Any, ...]]:
    return sa.select(
        revisions.c.number,
        revisions.c.kind,
        revisions.c.version_id,
        versions.c.number.label("version"),
        revisions.c.created_at,
        revisions.c.reason,
    ).outerjoin(versions, versions.c.id == revisions.c.version_id)


_NEWEST: Final = PreparedQuery(
    _select()
    .where(revisions.c.channel_id == sa.bindparam("channel_id"))
    .order_by(revisions.c.number.desc())
    .limit(sa.bindparam("most", type_=sa.BigInteger)),
    LedgerRow,
)
