"""Signing keys and what they signed: envelopes of verdicts, summaries of moves, disputes."""

import sqlalchemy as sa

from deltareg.db.sql.envelope import EnvelopeColumn
from deltareg.db.tables.metadata import (
    Json,
    created_at,
    created_by,
    member,
    metadata,
    one_of,
    optional_row,
    row_id,
    text,
    time,
)
from deltareg.words import KEY_ROLES

# Whose a key is never changes, an end is written once, and none is deleted: the migration adds the
# triggers. A key of the server has no principal.
signing_keys = sa.Table(
    "signing_keys",
    metadata,
    row_id(),
    text("role"),
    text("name"),
    optional_row("principal_id", "principals.id"),
    text("keyid"),
    text("public"),
    sa.Column("host", sa.Text, nullable=False, server_default=""),
    created_at(),
    created_by(),
    time("retired_at"),
    time("revoked_at"),
    optional_row("revoked_by", "principals.id"),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.UniqueConstraint("keyid"),
    sa.UniqueConstraint("public"),
    one_of("role", *KEY_ROLES),
    sa.CheckConstraint("role <> 'worker' OR principal_id IS NOT NULL", name="owned"),
)
_LIVE_WORKER = sa.and_(
    signing_keys.c.role == sa.literal_column("'worker'"),
    signing_keys.c.retired_at.is_(None),
    signing_keys.c.revoked_at.is_(None),
)
sa.Index(
    "uq_signing_keys_live_worker",
    signing_keys.c.principal_id,
    unique=True,
    sqlite_where=_LIVE_WORKER,
    postgresql_where=_LIVE_WORKER,
)

# Which key servers sign with: the one in the slot. It is sealed where servers share a key to seal with; the
# others have ended here, and nobody has them. `audit_id` is the row that tells of it, if it followed another.
server_keys = sa.Table(
    "server_keys",
    metadata,
    sa.Column("keyid", sa.Text, sa.ForeignKey("signing_keys.keyid"), primary_key=True),
    sa.Column("slot", sa.Integer),
    sa.Column("sealed", sa.LargeBinary),
    optional_row("audit_id", "audit.id"),
    sa.UniqueConstraint("slot"),
    sa.CheckConstraint("slot = 1", name="slot"),
)

# Of the newest claim of a run: what its report must say, and the public key that must sign it.
lease_keys = sa.Table(
    "lease_keys",
    metadata,
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id"), primary_key=True),
    text("nonce"),
    text("public"),
)

# What a worker signed, as it came; `key_id` is NULL where the key is nobody's that is enrolled.
# Append-only, as are the two tables below.
verdict_envelopes = sa.Table(
    "verdict_envelopes",
    metadata,
    sa.Column("verdict_id", sa.Text, sa.ForeignKey("verdicts.id"), primary_key=True),
    optional_row("key_id", "signing_keys.id"),
    text("keyid"),
    text("host"),
    sa.Column("labels", Json, nullable=False),
    sa.Column("body", EnvelopeColumn(), nullable=False),
    sa.Index(None, "key_id"),
)

# A verdict that another worker did not find: neither of the two counts.
disputes = sa.Table(
    "disputes",
    metadata,
    sa.Column("verdict_id", sa.Text, sa.ForeignKey("verdicts.id"), primary_key=True),
    sa.Column("other_id", sa.Text, sa.ForeignKey("verdicts.id"), nullable=False),
    text("told"),
    created_at(),
)

# What the gate answered when a channel moved, signed by the server.
summaries = sa.Table(
    "summaries",
    metadata,
    member("revision_id", "revisions.id"),
    text("keyid"),
    sa.Column("body", EnvelopeColumn(), nullable=False),
)
