"""Who holds which role where, who stands behind whom, what was asked for, and when visibility changed."""

import sqlalchemy as sa

from deltareg.db.tables.metadata import (
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
from deltareg.words import NAMESPACE_REQUEST_STATES, ROLES, VISIBILITIES

_LIVE_EVERYWHERE = sa.text("ended_at IS NULL AND namespace_id IS NULL")
_LIVE = sa.text("ended_at IS NULL")
_OPEN = sa.text("state = 'open'")
_LIVE_WITHIN = sa.text("ended_at IS NULL AND namespace_id IS NOT NULL")
_BUILT_IN = ", ".join(f"'{role}'" for role in ROLES)

# A role of one's own: its rights, joined by "+", may change; its name and its place never do. When it
# ends, its grants end with it.
roles = sa.Table(
    "roles",
    metadata,
    row_id(),
    text("name"),
    optional_row("namespace_id", "namespaces.id"),
    text("rights"),
    created_at(),
    created_by(),
    time("ended_at"),
    sa.Index(
        "uq_roles_everywhere", "name", unique=True, sqlite_where=_LIVE_EVERYWHERE, postgresql_where=_LIVE_EVERYWHERE
    ),
    sa.Index(
        "uq_roles_within", "name", "namespace_id", unique=True, sqlite_where=_LIVE_WITHIN, postgresql_where=_LIVE_WITHIN
    ),
)

# A grant ends and never changes otherwise, and none is deleted; the migration adds the triggers.
# Of a role of one's own it has the name, too.
grants = sa.Table(
    "grants",
    metadata,
    row_id(),
    required_row("principal_id", "principals.id"),
    optional_row("namespace_id", "namespaces.id"),
    text("role"),
    sa.Column("pattern", sa.Text, nullable=False, server_default=""),
    sa.Column("is_legacy", sa.Boolean, nullable=False, server_default=sa.false()),
    created_at(),
    created_by(),
    time("ended_at"),
    optional_row("ended_by", "principals.id"),
    optional_row("role_id", "roles.id"),
    sa.CheckConstraint("pattern = '' OR namespace_id IS NOT NULL", name="pattern"),
    sa.CheckConstraint(f"role_id IS NOT NULL OR role IN ({_BUILT_IN})", name="role"),
    sa.Index(
        "uq_grants_everywhere",
        "principal_id",
        "role",
        unique=True,
        sqlite_where=_LIVE_EVERYWHERE,
        postgresql_where=_LIVE_EVERYWHERE,
    ),
    sa.Index(
        "uq_grants_within",
        "principal_id",
        "namespace_id",
        "role",
        "pattern",
        unique=True,
        sqlite_where=_LIVE_WITHIN,
        postgresql_where=_LIVE_WITHIN,
    ),
    sa.Index(None, "namespace_id"),
    sa.Index(None, "principal_id"),
)

# Everybody who ever stood behind a principal that is no person: who owned it, and who held a secret of
# it. A row ends when the principal is handed over with its tokens revoked, and changes in no other way.
stand_ins = sa.Table(
    "stand_ins",
    metadata,
    row_id(),
    required_row("principal_id", "principals.id"),
    required_row("person_id", "principals.id"),
    created_at(),
    time("ended_at"),
    sa.Index("uq_stand_ins_live", "principal_id", "person_id", unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE),
    sa.Index(None, "person_id"),
)

# Append-only: the newest row of a service account or a machine says whose it is: a person's or a group's.
account_owners = sa.Table(
    "account_owners",
    metadata,
    row_id(),
    required_row("principal_id", "principals.id"),
    required_row("owner_id", "principals.id"),
    created_at(),
    created_by(),
    sa.Index(None, "principal_id"),
    sa.Index(None, "owner_id"),
)

# Append-only: how somebody came to a token of their own. One that takes the place of another `renews`
# it; one that somebody made for themselves was `made_with` another, and ends with it.
token_origins = sa.Table(
    "token_origins",
    metadata,
    member("token_id", "tokens.id"),
    optional_row("renews", "tokens.id"),
    optional_row("made_with", "tokens.id"),
    sa.Index(None, "renews"),
    sa.Index(None, "made_with"),
)

# Who may not make a namespace asks for it.
namespace_requests = sa.Table(
    "namespace_requests",
    metadata,
    row_id(),
    text("name"),
    text("visibility"),
    text("reason"),
    text("state"),
    required_row("opener_id", "principals.id"),
    created_at(),
    time("decided_at"),
    optional_row("decided_by", "principals.id"),
    text("decision"),
    one_of("state", *NAMESPACE_REQUEST_STATES),
    one_of("visibility", *VISIBILITIES),
    sa.Index(
        "uq_namespace_requests_open", "name", "opener_id", unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN
    ),
    sa.Index(None, "opener_id"),
)

# One row, counted up whenever a namespace becomes as visible as it was not: its lock makes those
# who change that take turns, so that a number never stands for two states.
visibility_epochs = sa.Table("visibility_epochs", metadata, sa.Column("id", RowId, primary_key=True), count("number"))
