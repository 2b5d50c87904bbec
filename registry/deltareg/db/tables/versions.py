"""Bases with their relations, deltas, versions and lineage.

A storage map is packed against the manifest of its row (`db.document.pack_map`).
"""

import sqlalchemy as sa

from deltareg.db.sql.document import DocumentColumn
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
from deltareg.words import FORM_ORIGINS, FORM_STATES, RELATIONS


def proof_columns() -> tuple[sa.Column[int] | sa.Column[int | None], ...]:
    """The proof state of a version's or base's bytes: claimed, proven, or corrupt (record 40).

    They are proven if `proven_revision` equals the storage revision. `stored_by` sent them; if it
    is NULL, whoever created the row did.
    """
    return (
        time("proven_at"),
        sa.Column("proven_revision", sa.BigInteger),
        time("corrupt_at"),
        # No reference: SQLite adds a column with one only by writing the whole table anew.
        sa.Column("stored_by", RowId),
    )


def _deprecation() -> sa.Column[object]:
    """Who deprecated it (`actor`), when (`at`), why (`reason`), and its `successor`; NULL if nobody did."""
    return sa.Column("deprecation", Json)


bases = sa.Table(
    "bases",
    metadata,
    row_id(),
    text("name"),
    text("root"),
    text("config_digest"),
    sa.Column("tokenizer_digest", sa.Text),
    text("manifest_digest"),
    sa.Column("manifest", DocumentColumn(), nullable=False),
    # NULL: registered only, the bytes stay at `location`.
    sa.Column("storage_map", sa.LargeBinary),
    sa.Column("location", sa.Text),
    count("logical_bytes"),
    count("stored_bytes"),
    created_at(),
    created_by(),
    count("storage_revision", default=1),
    *proof_columns(),
    sa.UniqueConstraint("name"),
    sa.Index(None, "root"),
)

base_relations = sa.Table(
    "base_relations",
    metadata,
    row_id(),
    required_row("base_id", "bases.id"),
    text("other_root"),
    text("relation"),
    text("rule_version"),
    created_at(),
    sa.UniqueConstraint("base_id", "other_root", "relation"),
    one_of("relation", *RELATIONS),
    sa.Index(None, "other_root"),
)

# A base that is what folding a version gives. A table of its own: a base does not need a version to
# be one, and neither table has to know of the other before it is made.
version_bases = sa.Table(
    "version_bases",
    metadata,
    member("base_id", "bases.id"),
    required_row("version_id", "versions.id"),
    # The base at the foot of the stack, whose tensors its bytes are encoded against.
    required_row("bottom_id", "bases.id"),
    count("depth"),
    text("recipe"),
    created_at(),
    sa.UniqueConstraint("version_id"),
    sa.CheckConstraint("depth >= 1", name="depth"),
)

# A base whose weights are another base's in few bits. What is trained on it belongs to the root.
base_variants = sa.Table(
    "base_variants",
    metadata,
    member("base_id", "bases.id"),
    required_row("root_id", "bases.id"),
    text("scheme"),
    created_at(),
    sa.CheckConstraint("base_id <> root_id", name="other"),
    sa.Index(None, "root_id"),
)

# By what ids the hub has a base: where configs that name one lead to. No revision means any.
base_hub_ids = sa.Table(
    "base_hub_ids",
    metadata,
    member("base_id", "bases.id"),
    sa.Column("hub_id", sa.Text, primary_key=True),
    sa.Column("revision", sa.Text, primary_key=True),
    created_at(),
    sa.Index(None, "hub_id"),
)

deltas = sa.Table(
    "deltas",
    metadata,
    row_id(),
    required_row("namespace_id", "namespaces.id"),
    text("name"),
    count("next_version", default=1),
    created_at(),
    created_by(),
    # The versions that were deleted with it have the same time.
    time("deleted_at"),
    _deprecation(),
    sa.UniqueConstraint("namespace_id", "name"),
)

versions = sa.Table(
    "versions",
    metadata,
    row_id(),
    required_row("delta_id", "deltas.id"),
    count("number"),
    text("manifest_digest"),
    sa.Column("manifest", DocumentColumn(), nullable=False),
    sa.Column("storage_map", sa.LargeBinary, nullable=False),
    count("storage_revision", default=1),
    text("kind"),
    text("variant"),
    sa.Column("foldable", sa.Boolean, nullable=False),
    text("base_root"),
    optional_row("base_id", "bases.id"),
    sa.Column("message", sa.Text, nullable=False, server_default=""),
    sa.Column("semver", sa.Text),
    sa.Column("labels", Json, nullable=False),
    count("logical_bytes"),
    count("stored_bytes"),
    count("uploaded_bytes"),
    created_at(),
    created_by(),
    time("deleted_at"),
    # When collection let go of the packs of a deleted version; from then on it has no bytes.
    time("released_at"),
    # Whether it is revoked, in the row that a promotion locks; who and why is in `revocations`.
    time("revoked_at"),
    # What its files say of its base, where who pushed it insisted on another.
    sa.Column("base_claim", sa.Text),
    # Written by no release; to be dropped when no running one selects it (record 7).
    sa.Column("revoke_reason", sa.Text),
    _deprecation(),
    *proof_columns(),
    # When what was read out of a released version was dropped, and how it was stored.
    time("put_away_at"),
    # What a machine that has the base and nothing else fetches; NULL until upkeep has measured it.
    sa.Column("cold_bytes", sa.BigInteger),
    sa.UniqueConstraint("delta_id", "number"),
    sa.CheckConstraint("released_at IS NULL OR deleted_at IS NOT NULL", name="released"),
    sa.Index(None, "base_root"),
    sa.Index(None, "base_id"),
)
sa.Index(
    "uq_versions_live_manifest",
    versions.c.delta_id,
    versions.c.manifest_digest,
    unique=True,
    sqlite_where=versions.c.deleted_at.is_(None),
    postgresql_where=versions.c.deleted_at.is_(None),
)
sa.Index(
    "uq_versions_semver",
    versions.c.delta_id,
    versions.c.semver,
    unique=True,
    sqlite_where=versions.c.semver.is_not(None),
    postgresql_where=versions.c.semver.is_not(None),
)
sa.Index(
    "ix_versions_largest",
    versions.c.delta_id,
    versions.c.stored_bytes,
    sqlite_where=versions.c.deleted_at.is_(None),
    postgresql_where=versions.c.deleted_at.is_(None),
)
_TO_RELEASE = sa.and_(versions.c.deleted_at.is_not(None), versions.c.released_at.is_(None))
sa.Index("ix_versions_to_release", versions.c.deleted_at, sqlite_where=_TO_RELEASE, postgresql_where=_TO_RELEASE)

_TO_PUT_AWAY = sa.and_(versions.c.released_at.is_not(None), versions.c.put_away_at.is_(None))
sa.Index("ix_versions_to_put_away", versions.c.id, sqlite_where=_TO_PUT_AWAY, postgresql_where=_TO_PUT_AWAY)

_UNMEASURED = sa.and_(versions.c.cold_bytes.is_(None), versions.c.deleted_at.is_(None))
sa.Index("ix_versions_unmeasured", versions.c.id, sqlite_where=_UNMEASURED, postgresql_where=_UNMEASURED)

# Those of a line that are there, by number, and its pushes in the order of time.
sa.Index(
    "ix_versions_live_line",
    versions.c.delta_id,
    versions.c.number,
    sqlite_where=versions.c.deleted_at.is_(None),
    postgresql_where=versions.c.deleted_at.is_(None),
)
sa.Index("ix_versions_delta_id_created_at", versions.c.delta_id, versions.c.created_at)

# For counting what is there for a base, and listing it newest first, without a look at any row.
sa.Index(
    "ix_versions_live_base",
    versions.c.base_id,
    versions.c.id,
    sqlite_where=versions.c.deleted_at.is_(None),
    postgresql_where=versions.c.deleted_at.is_(None),
)

# The variant of its base that a version was trained on; none for most.
version_variants = sa.Table(
    "version_variants",
    metadata,
    member("version_id", "versions.id"),
    required_row("base_id", "bases.id"),
    created_at(),
    sa.Index(None, "base_id"),
)

revocations = sa.Table(
    "revocations",
    metadata,
    row_id(),
    required_row("version_id", "versions.id"),
    required_row("actor_id", "principals.id"),
    text("reason"),
    created_at(),
    time("ended_at"),
    optional_row("ended_by", "principals.id"),
    sa.Column("end_reason", sa.Text),
)
sa.Index(
    "uq_revocations_standing",
    revocations.c.version_id,
    unique=True,
    sqlite_where=revocations.c.ended_at.is_(None),
    postgresql_where=revocations.c.ended_at.is_(None),
)

# Stored forms of a version beside the one that is served: proposed and not proven yet, or former
# ones, which were replaced when their row was made. What becomes of one stands in its state; it
# holds packs until it has ended.
forms = sa.Table(
    "forms",
    metadata,
    row_id(),
    required_row("version_id", "versions.id"),
    text("why"),
    sa.Column("storage_map", sa.LargeBinary, nullable=False),
    count("stored_bytes"),
    sa.Column("revision", sa.BigInteger),
    optional_row("sent_by", "principals.id"),
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id")),
    text("state"),
    created_at(),
    time("ended_at"),
    # When it was decoded by somebody else than who sent it; of a former one, while it was served.
    time("proven_at"),
    one_of("why", *FORM_ORIGINS),
    one_of("state", *FORM_STATES),
    sa.Index(None, "version_id", "state"),
    sa.Index(None, "run_id"),
)

lineage = sa.Table(
    "lineage",
    metadata,
    member("version_id", "versions.id"),
    member("parent_version_id", "versions.id"),
    count("position"),
    sa.Index(None, "parent_version_id"),
)
