"""Who is logged in to the pages, and one-time codes to log in with."""

import sqlalchemy as sa

from deltareg.db.tables.metadata import created_at, metadata, required_row, row_id, text, time

# A row begins as a code that somebody may log in with, or as a session at once. Of both there are
# hashes alone; a session takes the place of its code.
sessions = sa.Table(
    "sessions",
    metadata,
    row_id(),
    required_row("token_id", "tokens.id"),
    sa.Column("code_hash", sa.Text),
    sa.Column("secret_hash", sa.Text),
    text("bound_to"),  # which start of a server it ends with; empty where it outlives that
    text("browser"),
    created_at(),
    time("begun_at"),
    time("used_at"),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    time("ended_at"),
    sa.UniqueConstraint("code_hash"),
    sa.UniqueConstraint("secret_hash"),
    sa.Index(None, "token_id"),
)
