"""The terms of channels."""

from collections.abc import Mapping

import sqlalchemy as sa

from deltareg.db.channels.rows import TermsRow
from deltareg.db.sql.fetch import fetch_one
from deltareg.db.tables import terms


def newest_terms(conn: sa.Connection, channel_id: int) -> TermsRow | None:
    """Return the terms of a channel as last recorded."""
    query = sa.select(terms).where(terms.c.channel_id == channel_id)
    return fetch_one(conn, query.order_by(terms.c.id.desc()).limit(1), TermsRow)


def add_terms(conn: sa.Connection, channel_id: int, *, policy_digest: str, suites: Mapping[str, str]) -> None:
    """Record the terms of a channel."""
    conn.execute(sa.insert(terms).values(channel_id=channel_id, policy_digest=policy_digest, suites=dict(suites)))
