"""Agents that follow channels, and what each reported of every channel."""

import sqlalchemy as sa

from deltareg.db.tables.metadata import count, metadata, one_of, required_row, row_id, text
from deltareg.words import FOLLOW_STATES

agents = sa.Table(
    "agents",
    metadata,
    row_id(),
    text("name"),
    required_row("principal_id", "principals.id"),
    text("engine"),
    count("every_us"),
    count("seen_at"),
    sa.UniqueConstraint("name"),
)

followers = sa.Table(
    "followers",
    metadata,
    row_id(),
    required_row("agent_id", "agents.id", ondelete="CASCADE"),
    required_row("channel_id", "channels.id"),
    count("revision"),
    sa.Column("version", sa.BigInteger),
    sa.Column("digest", sa.Text),
    text("state"),
    text("error"),
    count("since"),
    sa.Column("base", sa.Text, nullable=False, server_default="unchecked"),
    sa.Column("trouble", sa.Text, nullable=False, server_default=""),
    sa.Column("told", sa.Text),  # the drift that an event has told of
    one_of("state", *FOLLOW_STATES),
    sa.UniqueConstraint("agent_id", "channel_id"),
    sa.Index(None, "channel_id"),
)
