"""Signatures and attestations of versions, and revoked signers."""

import sqlalchemy as sa

from deltareg.db.tables.metadata import created_at, created_by, metadata, one_of, required_row, row_id, text
from deltareg.words import REFERRER_FORMS

# As it came, with who made it as it was found out then. Append-only, as is the table below.
referrers = sa.Table(
    "referrers",
    metadata,
    row_id(),
    required_row("version_id", "versions.id"),
    text("form"),
    text("digest"),
    text("predicate_type"),
    text("keyid"),
    text("ca"),
    text("issuer"),
    text("identity"),
    text("public"),
    sa.Column("body", sa.LargeBinary, nullable=False),
    created_at(),
    created_by(),
    sa.UniqueConstraint("version_id", "digest"),
    one_of("form", *REFERRER_FORMS),
)

# A key or an authority whose signatures count no more, whenever they were made.
revoked_signers = sa.Table(
    "revoked_signers",
    metadata,
    sa.Column("keyid", sa.Text, primary_key=True),
    text("reason"),
    created_at(),
    created_by(),
)
