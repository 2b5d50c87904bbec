"""The hashes of all live tokens, for telling valid ones from bad ones without a look for each."""

import sqlalchemy as sa

from deltareg.db.sql.clock import now_us
from deltareg.db.tables import principals, tokens


def live_token_hashes(conn: sa.Connection) -> frozenset[str]:
    """Return the hashes of the tokens that are neither revoked nor expired, of principals that are not disabled."""
    query = (
        sa.select(tokens.c.token_hash)
        .join(principals, principals.c.id == tokens.c.principal_id)
        .where(
            tokens.c.revoked_at.is_(None),
            principals.c.disabled_at.is_(None),
            sa.or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > now_us()),
        )
    )
    return frozenset(conn.execute(query).scalars())
