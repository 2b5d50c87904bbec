"""What versions are found by: their words, labels, base and kind as terms, and their metrics.

All of it is derived from other tables, and derived again when a label changes.
"""

import sqlalchemy as sa

from deltareg.db.sql.document import DocumentColumn
from deltareg.db.tables.metadata import created_at, member, metadata

# Compared byte by byte on both, so that the words with a beginning lie side by side.
Term = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

# What the README.md of a version says, read once; NULL where it has none. A version without a row
# is not read yet, and is found by nothing.
cards = sa.Table(
    "cards", metadata, member("version_id", "versions.id"), sa.Column("document", DocumentColumn()), created_at()
)

search_terms = sa.Table(
    "search_terms",
    metadata,
    sa.Column("term", Term, primary_key=True),
    member("version_id", "versions.id"),
    # For looking a beginning up in one version, where nearly all have a word that begins so.
    sa.Index(None, "version_id", "term"),
    sqlite_with_rowid=False,
)

# Numbers of a version by name: what its card claims, and what the checks of a suite found.
version_metrics = sa.Table(
    "version_metrics",
    metadata,
    member("version_id", "versions.id"),
    sa.Column("name", Term, primary_key=True),
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("value", sa.Double, nullable=False),
    sa.Index(None, "name", "value"),
)
