"""Approval of what is served, and the terms: requests, approvals, reviews, terms.

Rows of approvals, reviews and terms never change, nor does a request once it is decided; the
migration adds triggers for that, and for who may approve.
"""

import sqlalchemy as sa

from deltareg.db.tables.metadata import (
    Json,
    count,
    created_at,
    member,
    metadata,
    one_of,
    optional_row,
    required_row,
    row_id,
    text,
    time,
)
from deltareg.words import REQUEST_STATES

requests = sa.Table(
    "requests",
    metadata,
    row_id(),
    required_row("channel_id", "channels.id"),
    required_row("version_id", "versions.id"),
    text("digest"),
    text("policy_digest"),
    count("seen_revision"),
    required_row("opener_id", "principals.id"),
    text("reason"),
    sa.Column("state", sa.Text, nullable=False, server_default="open"),
    created_at(),
    time("decided_at"),
    optional_row("decided_by", "principals.id"),
    sa.Column("decision", sa.Text, nullable=False, server_default=""),
    optional_row("revision_id", "revisions.id"),
    one_of("state", *REQUEST_STATES),
    sa.CheckConstraint("(state = 'promoted') = (revision_id IS NOT NULL)", name="promoted"),
    sa.Index(None, "revision_id"),
)
OPEN = requests.c.state == sa.literal_column("'open'")
sa.Index(
    "uq_requests_open",
    requests.c.channel_id,
    requests.c.version_id,
    unique=True,
    sqlite_where=OPEN,
    postgresql_where=OPEN,
)

approvals = sa.Table(
    "approvals",
    metadata,
    row_id(),
    required_row("request_id", "requests.id"),
    required_row("principal_id", "principals.id"),
    required_row("token_id", "tokens.id"),
    text("message"),
    created_at(),
    sa.UniqueConstraint("request_id", "principal_id"),
)

reviews = sa.Table(
    "reviews",
    metadata,
    row_id(),
    required_row("revision_id", "revisions.id"),
    required_row("principal_id", "principals.id"),
    text("message"),
    created_at(),
    sa.UniqueConstraint("revision_id"),
)

# A warning that somebody who asked for a promotion accepted, as `suite/check`. Append-only.
accepted_warnings = sa.Table(
    "accepted_warnings",
    metadata,
    member("request_id", "requests.id"),
    sa.Column("warning", sa.Text, primary_key=True),
    created_at(),
)

# What a channel asked for, when that was written down: its policy's digest, its suites' by name.
terms = sa.Table(
    "terms",
    metadata,
    row_id(),
    required_row("channel_id", "channels.id"),
    text("policy_digest"),
    sa.Column("suites", Json, nullable=False),
    created_at(),
    sa.Index(None, "channel_id", "id"),
)
