"""What is kept of lines by triggers on other tables, so that no list counts or sorts what a line has."""

import sqlalchemy as sa

from deltareg.db.tables.metadata import RowId, count, member, metadata

# The versions of a line that are not deleted, by their base; `trained` counts those that were trained on
# a variant, under the variant.
line_counts = sa.Table(
    "line_counts",
    metadata,
    member("delta_id", "deltas.id"),
    sa.Column("base_id", RowId, primary_key=True, autoincrement=False),  # 0: no base
    *(count(name, default=0) for name in ("versions", "trained", "logical_bytes", "stored_bytes")),
    sa.Index(None, "base_id"),
)

# The verdicts of a line in the order of time.
line_verdicts = sa.Table(
    "line_verdicts",
    metadata,
    member("delta_id", "deltas.id"),
    sa.Column("created_at", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("verdict_id", sa.Text, primary_key=True),
    sqlite_with_rowid=False,
)
