"""What clients of the Hugging Face Hub have sent that is no version yet: drafts and their bytes."""

import sqlalchemy as sa

from deltareg.db.tables.metadata import count, metadata, one_of, required, row_id, text

# What somebody wants to change about a line: a JSON object from path to [sha256, bytes], or to null
# where the file is to go. It lies over the newest version.
hub_drafts = sa.Table(
    "hub_drafts",
    metadata,
    row_id(),
    text("line"),
    required("principal_id", "principals.id"),
    text("changes"),
    count("touched_at"),
    sa.UniqueConstraint("line", "principal_id"),
)

# An object of the store that is being sent, or lies there until a version is made of it. The row
# is written before the first byte, and deleted after the object.
hub_staged = sa.Table(
    "hub_staged",
    metadata,
    row_id(),
    text("line"),
    required("principal_id", "principals.id"),
    text("sha256"),
    count("size_bytes"),
    text("physical_key"),
    text("state"),
    count("touched_at"),
    sa.UniqueConstraint("physical_key"),
    one_of("state", "receiving", "here", "gone"),
    sa.Index("ix_hub_staged_line_principal_id", "line", "principal_id"),
    sa.Index("ix_hub_staged_touched_at", "touched_at"),
)

# The right to send one file, of a length and a digest, by whoever has the address; kept by hash.
hub_tickets = sa.Table(
    "hub_tickets",
    metadata,
    row_id(),
    text("ticket"),
    text("line"),
    required("principal_id", "principals.id"),
    text("sha256"),
    count("size_bytes"),
    count("expires_at"),
    sa.UniqueConstraint("ticket"),
)
