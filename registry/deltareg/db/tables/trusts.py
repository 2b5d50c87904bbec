"""Whose workflows get a token without a stored secret, and which assertions were used for one."""

import sqlalchemy as sa

from deltareg.db.tables.metadata import (
    Json,
    count,
    created_at,
    metadata,
    one_of,
    optional_row,
    required_row,
    row_id,
    text,
    time,
)
from deltareg.words import TRUST_PROVIDERS

# A trust ends and never changes otherwise: what it accepted stays known.
trusts = sa.Table(
    "trusts",
    metadata,
    row_id(),
    required_row("namespace_id", "namespaces.id"),
    required_row("principal_id", "principals.id"),
    text("provider"),
    text("issuer"),
    text("audience"),
    sa.Column("conditions", Json, nullable=False),
    sa.Column("scopes", Json, nullable=False),
    text("note"),
    created_at(),
    required_row("created_by", "principals.id"),
    time("ended_at"),
    optional_row("ended_by", "principals.id"),
    one_of("provider", *TRUST_PROVIDERS),
    sa.Index(None, "issuer"),
    sa.Index(None, "namespace_id"),
)

# The primary key makes it one use each: of two requests with one assertion, one fails.
used_assertions = sa.Table(
    "used_assertions",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    required_row("trust_id", "trusts.id"),
    count("expires_at"),
    created_at(),
    sa.Index(None, "expires_at"),
)
