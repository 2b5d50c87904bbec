"""By what versions with the same weights are found: a digest over all tensors, and marks of some."""

import sqlalchemy as sa

from deltareg.db.tables.metadata import count, member, metadata, text

# A version without a row has not been read yet.
version_weights = sa.Table(
    "version_weights",
    metadata,
    member("version_id", "versions.id", ondelete="CASCADE"),
    text("digest"),
    count("size_bytes"),
    sa.Index(None, "digest"),
)

# The first 63 bits of the digests of some tensors of a version, chosen alike for all.
weight_marks = sa.Table(
    "weight_marks",
    metadata,
    sa.Column("mark", sa.BigInteger, primary_key=True, autoincrement=False),
    member("version_id", "versions.id", ondelete="CASCADE"),
    sqlite_with_rowid=False,
)
