"""What clients of the Hugging Face Hub have uploaded before it is a version: drafts and objects."""

import sqlalchemy as sa

from deltareg.db.tables.metadata import count, metadata, one_of, required_row, row_id, text
from deltareg.words import STAGED_STATES


def _area() -> sa.Column[str]:
    """The name of the area that a row belongs to; empty for a file that is sent whole."""
    return sa.Column("area", sa.Text, nullable=False, server_default="")


# What somebody wants to change about a line: a JSON object from path to [sha256, bytes], or to null
# where the file is to go. It lies over the newest version.
hub_drafts = sa.Table(
    "hub_drafts",
    metadata,
    row_id(),
    text("line"),
    required_row("principal_id", "principals.id"),
    text("changes"),
    count("touched_at"),
    sa.UniqueConstraint("line", "principal_id"),
)

# An object of the store that is being sent, or lies there until a version is made of it. The row
# is written before the first byte, and deleted after the object. It is a file, or a xorb of an
# area; then `sha256` is the name that its client has for it, which nothing is held against.
hub_staged = sa.Table(
    "hub_staged",
    metadata,
    row_id(),
    text("line"),
    required_row("principal_id", "principals.id"),
    text("sha256"),
    count("size_bytes"),
    text("physical_key"),
    text("state"),
    count("touched_at"),
    _area(),
    sa.UniqueConstraint("physical_key"),
    one_of("state", *STAGED_STATES),
    sa.Index("ix_hub_staged_line_principal_id", "line", "principal_id"),
    sa.Index("ix_hub_staged_touched_at", "touched_at"),
)

# What somebody sends by Xet for a line, until a version is made of it or nobody goes on with it.
hub_areas = sa.Table(
    "hub_areas",
    metadata,
    row_id(),
    text("name"),
    text("line"),
    required_row("principal_id", "principals.id"),
    count("touched_at"),
    sa.UniqueConstraint("name"),
    sa.UniqueConstraint("line", "principal_id"),
)

# The right to send one file, of a length and a digest, by whoever has the address, or to send
# anything to an area; kept by hash.
hub_tickets = sa.Table(
    "hub_tickets",
    metadata,
    row_id(),
    text("ticket"),
    text("line"),
    required_row("principal_id", "principals.id"),
    text("sha256"),
    count("size_bytes"),
    count("expires_at"),
    _area(),
    sa.UniqueConstraint("ticket"),
)
