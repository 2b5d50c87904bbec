"""Who acts and what they did: principals, tokens, namespaces, the audit trail, stored answers."""

import sqlalchemy as sa

from deltareg.db.sql.subject_line import subject_line
from deltareg.db.tables.metadata import (
    Json,
    RowId,
    count,
    created_at,
    created_by,
    member,
    metadata,
    one_of,
    optional_row,
    required_row,
    row_id,
    text,
    time,
)
from deltareg.db.tables.search import Term
from deltareg.words import PRINCIPAL_KINDS, TOKEN_KINDS

principals = sa.Table(
    "principals",
    metadata,
    row_id(),
    text("name"),
    text("kind"),
    created_at(),
    time("disabled_at"),
    sa.UniqueConstraint("name"),
    one_of("kind", *PRINCIPAL_KINDS),
)

tokens = sa.Table(
    "tokens",
    metadata,
    row_id(),
    text("token_hash"),
    text("display"),
    required_row("principal_id", "principals.id"),
    text("kind"),
    sa.Column("scopes", Json, nullable=False),
    sa.Column("note", sa.Text, nullable=False, server_default=""),
    created_at(),
    created_by(),
    time("expires_at"),
    time("revoked_at"),
    time("last_used_at"),
    sa.Column("namespaces", Json),  # NULL: not limited to any
    sa.Column("claims", Json),  # of the workflow that got it by a trust; NULL: somebody made it
    sa.Column("trust_id", RowId),
    sa.UniqueConstraint("token_hash"),
    one_of("kind", *TOKEN_KINDS),
    sa.Index(None, "principal_id"),
    sa.Index(None, "trust_id"),
)

namespaces = sa.Table(
    "namespaces",
    metadata,
    row_id(),
    text("name"),
    created_at(),
    created_by(),
    sa.Column("visibility", sa.Text, nullable=False, server_default="internal"),
    sa.UniqueConstraint("name"),
)

# Append-only: the migration adds triggers that refuse UPDATE and DELETE.
audit = sa.Table(
    "audit",
    metadata,
    row_id(),
    created_at(),
    text("actor"),
    optional_row("token_id", "tokens.id"),
    sa.Column("action", Term, nullable=False),
    sa.Column("subject", Term, nullable=False),
    sa.Column("before", Json),
    sa.Column("after", Json),
    text("request_id"),
    sa.Index(None, "subject", "id"),
    sa.Index(None, "actor", "id"),
    sa.Index(None, "action", "id"),
    sa.Index(None, "created_at"),
)
# The rows about a line and what is below it, in their order.
sa.Index("ix_audit_line", subject_line(audit.c.subject), audit.c.id)

# Which namespace a row of the trail is about, for its owners to read. Append-only, as the trail is.
audit_places = sa.Table(
    "audit_places",
    metadata,
    member("audit_id", "audit.id"),
    required_row("namespace_id", "namespaces.id"),
    sa.Index(None, "namespace_id", "audit_id"),
)

idempotency = sa.Table(
    "idempotency",
    metadata,
    row_id(),
    required_row("principal_id", "principals.id"),
    text("key"),
    text("request_digest"),
    count("status"),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("headers", Json, nullable=False),
    created_at(),
    sa.UniqueConstraint("principal_id", "key"),
    sa.Index(None, "created_at"),
)
