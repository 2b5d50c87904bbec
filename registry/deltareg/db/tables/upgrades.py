"""What makes a rolling upgrade safe: what the schema asks of servers, and who they are."""

import sqlalchemy as sa

from deltareg.db.sql.document import DocumentColumn
from deltareg.db.tables.metadata import count, created_at, metadata, one_of, text, uuid_id

# A revision of the schema, or a form in which rows are written since; servers whose own revision
# is below `works_from` do not work with it. Empty: every server that worked before does.
schema_steps = sa.Table(
    "schema_steps",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    text("kind"),
    sa.Column("works_from", sa.Text, nullable=False, server_default=""),
    text("release"),
    created_at(),
    one_of("kind", "expand", "contract", "form"),
)

# The serving processes; each says every so often that it is there.
servers = sa.Table(
    "servers",
    metadata,
    uuid_id(),
    text("release"),
    text("schema"),
    count("reads"),
    created_at(),
    count("last_seen_at"),
    sa.Index(None, "last_seen_at"),
)

# The built-in suites of every release that served here: its runs may still wait when it is gone.
release_suites = sa.Table(
    "release_suites",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    text("name"),
    sa.Column("document", DocumentColumn(), nullable=False),
    created_at(),
)
