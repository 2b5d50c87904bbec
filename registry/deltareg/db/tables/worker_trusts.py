"""Which service accounts of clusters have workers, and which of their assertions came with which key."""

import sqlalchemy as sa

from deltareg.db.tables.metadata import count, created_at, metadata, optional_row, required_row, row_id, text, time

# A trust ends and never changes otherwise: what it accepted stays known.
worker_trusts = sa.Table(
    "worker_trusts",
    metadata,
    row_id(),
    text("issuer"),
    text("audience"),
    text("account"),
    created_at(),
    required_row("created_by", "principals.id"),
    time("ended_at"),
    optional_row("ended_by", "principals.id"),
    sa.Index(None, "issuer"),
)

# An assertion is of the key that it came with first, until its time refuses it.
worker_assertions = sa.Table(
    "worker_assertions",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    required_row("trust_id", "worker_trusts.id"),
    text("keyid"),
    count("expires_at"),
    created_at(),
    sa.Index(None, "expires_at"),
)
