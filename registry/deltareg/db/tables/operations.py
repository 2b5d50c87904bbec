"""Operations that keep a registry in order, each with who does it now; and rules of retention."""

import sqlalchemy as sa

from deltareg.db.tables.metadata import (
    Json,
    count,
    created_at,
    metadata,
    one_of,
    optional_row,
    required_row,
    row_id,
    text,
    time,
)
from deltareg.words import OPERATION_NAMES

# One row a kind. Whoever holds it works under its fence; where it stands is saved after each step, so
# another server goes on from there once the lease has run out.
operations = sa.Table(
    "operations",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    # How often, in µs; NULL is as the server's own setting says, 0 is never by itself.
    sa.Column("every_us", sa.BigInteger),
    # Of the time of one process, the percentage that it may take; NULL is as the server says.
    sa.Column("percent", sa.BigInteger),
    time("paused_at"),
    # Who set or asked for it last, in whose name some kinds work.
    optional_row("set_by", "principals.id"),
    # From when on it is to be done; NULL is never, until somebody asks.
    time("due_at"),
    # When somebody asked for a round that has not begun yet.
    time("asked_at"),
    sa.Column("holder", sa.Text),
    count("held_until", default=0),
    count("fence", default=0),
    time("started_at"),
    # Where the round that is under way goes on; NULL between two rounds.
    sa.Column("place", Json),
    count("done", default=0),
    sa.Column("total", sa.BigInteger),
    sa.Column("counts", Json),
    time("ended_at"),
    sa.Column("outcome", Json),  # the counts of the round before
    sa.Column("failure", sa.Text),
    one_of("kind", *OPERATION_NAMES),
)

# What a namespace or a line keeps, of all kinds of delta or of one; who set it answers for it.
retention_rules = sa.Table(
    "retention_rules",
    metadata,
    row_id(),
    optional_row("namespace_id", "namespaces.id"),
    optional_row("delta_id", "deltas.id"),
    text("kind"),
    sa.Column("keep", Json, nullable=False),
    required_row("principal_id", "principals.id"),
    created_at(),
    sa.CheckConstraint("(namespace_id IS NULL) <> (delta_id IS NULL)", name="subject"),
    sa.UniqueConstraint("namespace_id", "kind"),
    sa.UniqueConstraint("delta_id", "kind"),
)
