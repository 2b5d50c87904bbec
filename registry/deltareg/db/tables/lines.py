"""What is kept of lines by triggers on other tables, so that no list counts or sorts what a line has."""

import sqlalchemy as sa

from deltareg.db.tables.metadata import RowId, count, member, metadata, row_id
from deltareg.db.tables.packs import SHARE_FIGURES

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

STORAGE_FIGURES = (
    "versions",
    "logical_bytes",
    "manifest_bytes",
    "map_bytes",
    "pack_bytes",
    *SHARE_FIGURES,
    "shared_bytes",
)
"""What is kept of a line's storage: of its versions; of the packs that count for them; of those that do not."""

# What the versions of a line that are not deleted store, by their kind. Behind by what is in `storage_changes`.
line_storage = sa.Table(
    "line_storage",
    metadata,
    member("delta_id", "deltas.id"),
    sa.Column("kind", sa.Text, primary_key=True),
    *(count(name, default=0) for name in STORAGE_FIGURES),
)

# What is to be added to it, and which packs may count for another now. Rows of their own, without foreign
# keys, so that no transaction waits for another.
storage_changes = sa.Table(
    "storage_changes",
    metadata,
    row_id(),
    sa.Column("pack_id", RowId),
    sa.Column("delta_id", RowId),
    sa.Column("kind", sa.Text),
    *(count(name, default=0) for name in STORAGE_FIGURES),
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
