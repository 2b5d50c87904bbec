"""The terms of channels."""

from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa

from deltareg.db.channels.rows import TermsRow
from deltareg.db.sql.prepared import PreparedQuery
from deltareg.db.tables import terms


def newest_terms(conn: sa.Connection, channel_id: int) -> TermsRow | None:
    """Return the terms of a channel as last recorded."""
    return _NEWEST.one(conn, channel_id=channel_id)


def add_terms(conn: sa.Connection, channel_id: int, *, policy_digest: str, suites: Mapping[str, str]) -> None:
    """Record the terms of a channel."""
    conn.execute(sa.insert(terms).values(channel_id=channel_id, policy_digest=policy_digest, suites=dict(suites)))


_NEWEST: Final = PreparedQuery(
    sa.select(terms).where(terms.c.channel_id == sa.bindparam("channel_id")).order_by(terms.c.id.desc()).limit(1),
    TermsRow,
)
