"""Who pulled which version, and how often."""

import sqlalchemy as sa

from deltareg.db.tables.metadata import count, member, metadata

# A row for each principal that ever pulled a version. Whoever came without a token is 0, so the
# column refers to no row.
pulls = sa.Table(
    "pulls",
    metadata,
    member("version_id", "versions.id", ondelete="CASCADE"),
    sa.Column("principal_id", sa.BigInteger, primary_key=True, autoincrement=False),
    count("number"),
    sa.Column("last_at", sa.BigInteger, nullable=False),
)
