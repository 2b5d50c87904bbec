"""What proven versions and bases offer to other pushes, found by marks of their pieces.

Where a piece lies stands in the storage map of the version or base that has it, and nowhere else.
"""

import sqlalchemy as sa

from deltareg.db.tables.metadata import metadata, optional_row, row_id

offers = sa.Table(
    "offers",
    metadata,
    row_id(),
    optional_row("version_id", "versions.id"),
    optional_row("base_id", "bases.id"),
    sa.CheckConstraint("(version_id IS NULL) <> (base_id IS NULL)", name="subject"),
    sa.UniqueConstraint("version_id"),
    sa.UniqueConstraint("base_id"),
)

# A mark is 63 bits of a digest and of whose it is. No reference: marks of an offer that was
# withdrawn lead nowhere, and go when others take their place.
offer_marks = sa.Table(
    "offer_marks",
    metadata,
    sa.Column("mark", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("offer_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
