"""Webhooks: where events are sent, the secrets that sign them, deliveries and attempts.

Addresses and secrets are sealed under a key that is not in the database.
"""

import sqlalchemy as sa

from deltareg.db.tables.metadata import (
    Json,
    RowId,
    count,
    created_at,
    created_by,
    metadata,
    one_of,
    optional_row,
    required_row,
    row_id,
    text,
    time,
    uuid_id,
)
from deltareg.words import DELIVERY_STATES, WEBHOOK_STATES

# `namespace_id` is NULL for all namespaces. Events go out in the name of `answers_id`, who has to
# own the namespace at that moment.
webhooks = sa.Table(
    "webhooks",
    metadata,
    uuid_id(),
    optional_row("namespace_id", "namespaces.id"),
    text("lines"),
    sa.Column("types", Json, nullable=False),
    text("form"),
    text("shown"),
    sa.Column("address", sa.LargeBinary, nullable=False),
    text("note"),
    text("state"),
    text("why"),
    required_row("answers_id", "principals.id"),
    created_at(),
    created_by(),
    one_of("state", *WEBHOOK_STATES),
    sa.Index(None, "namespace_id"),
)

# Two of a webhook are live while they change; `ends_at` is NULL for the one that stays.
webhook_secrets = sa.Table(
    "webhook_secrets",
    metadata,
    row_id(),
    sa.Column("webhook_id", sa.Text, sa.ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    created_at(),
    time("ends_at"),
    sa.Index(None, "webhook_id"),
)

# One for each event and each webhook that is told of it. `since` is when it was made due.
deliveries = sa.Table(
    "deliveries",
    metadata,
    row_id(),
    sa.Column("webhook_id", sa.Text, sa.ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
    required_row("event_id", "outbox.id", ondelete="CASCADE"),
    count("number"),
    text("subject"),
    text("state"),
    count("attempts"),
    count("since"),
    count("next_at"),
    time("ended_at"),
    one_of("state", *DELIVERY_STATES),
    sa.UniqueConstraint("webhook_id", "event_id"),
    sa.Index("ix_deliveries_event_id", "event_id"),
    sa.Index("ix_deliveries_webhook_id_id", "webhook_id", "id"),
    sa.Index(
        "ix_deliveries_pending",
        "webhook_id",
        "subject",
        "number",
        "next_at",
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    ),
)

# `status` is NULL where nothing was answered.
delivery_attempts = sa.Table(
    "delivery_attempts",
    metadata,
    row_id(),
    required_row("delivery_id", "deliveries.id", ondelete="CASCADE"),
    created_at(),
    sa.Column("status", RowId),
    count("took_us"),
    text("told"),
    sa.Index(None, "delivery_id"),
)
