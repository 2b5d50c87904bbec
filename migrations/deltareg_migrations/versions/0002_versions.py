"""Bases, deltas, versions and lineage."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    create_bases()
    create_base_relations()
    create_deltas()
    create_versions()
    create_lineage()


def downgrade() -> None:
    for table in ("lineage", "versions", "deltas", "base_relations", "bases"):
        op.drop_table(table)


def create_bases() -> None:
    op.create_table(
        "bases",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("config_digest", sa.Text(), nullable=False),
        sa.Column("tokenizer_digest", sa.Text()),
        sa.Column("manifest_digest", sa.Text(), nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.Column("storage_map", sa.LargeBinary()),
        sa.Column("location", sa.Text()),
        sa.Column("logical_bytes", sa.BigInteger(), nullable=False),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", ROW_ID),
        sa.ForeignKeyConstraint(["created_by"], ["principals.id"], name="fk_bases_created_by"),
        sa.PrimaryKeyConstraint("id", name="pk_bases"),
        sa.UniqueConstraint("name", name="uq_bases_name"),
    )
    op.create_index("ix_bases_root", "bases", ["root"])


def create_base_relations() -> None:
    op.create_table(
        "base_relations",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("base_id", ROW_ID, nullable=False),
        sa.Column("other_root", sa.Text(), nullable=False),
        sa.Column("relation", sa.Text(), nullable=False),
        sa.Column("rule_version", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "relation IN ('same_parameters', 'cast_of', 'resaved_as', 'finetuned_from')",
            name=op.f("ck_base_relations_relation"),
        ),
        sa.ForeignKeyConstraint(["base_id"], ["bases.id"], name="fk_base_relations_base_id"),
        sa.PrimaryKeyConstraint("id", name="pk_base_relations"),
        sa.UniqueConstraint("base_id", "other_root", "relation", name="uq_base_relations_base_id_other_root_relation"),
    )
    op.create_index("ix_base_relations_other_root", "base_relations", ["other_root"])


def create_deltas() -> None:
    op.create_table(
        "deltas",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("namespace_id", ROW_ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("next_version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", ROW_ID),
        sa.ForeignKeyConstraint(["created_by"], ["principals.id"], name="fk_deltas_created_by"),
        sa.ForeignKeyConstraint(["namespace_id"], ["namespaces.id"], name="fk_deltas_namespace_id"),
        sa.PrimaryKeyConstraint("id", name="pk_deltas"),
        sa.UniqueConstraint("namespace_id", "name", name="uq_deltas_namespace_id_name"),
    )


def create_versions() -> None:
    op.create_table(
        "versions",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("delta_id", ROW_ID, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("manifest_digest", sa.Text(), nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.Column("storage_map", sa.LargeBinary(), nullable=False),
        sa.Column("storage_revision", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("variant", sa.Text(), nullable=False),
        sa.Column("foldable", sa.Boolean(), nullable=False),
        sa.Column("base_root", sa.Text(), nullable=False),
        sa.Column("base_id", ROW_ID),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.Column("semver", sa.Text()),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("logical_bytes", sa.BigInteger(), nullable=False),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False),
        sa.Column("uploaded_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", ROW_ID),
        sa.Column("deleted_at", sa.BigInteger()),
        sa.Column("released_at", sa.BigInteger()),
        sa.Column("revoked_at", sa.BigInteger()),
        sa.Column("revoke_reason", sa.Text()),
        sa.CheckConstraint("released_at IS NULL OR deleted_at IS NOT NULL", name=op.f("ck_versions_released")),
        sa.ForeignKeyConstraint(["base_id"], ["bases.id"], name="fk_versions_base_id"),
        sa.ForeignKeyConstraint(["created_by"], ["principals.id"], name="fk_versions_created_by"),
        sa.ForeignKeyConstraint(["delta_id"], ["deltas.id"], name="fk_versions_delta_id"),
        sa.PrimaryKeyConstraint("id", name="pk_versions"),
        sa.UniqueConstraint("delta_id", "number", name="uq_versions_delta_id_number"),
    )
    op.create_index("ix_versions_base_id", "versions", ["base_id"])
    op.create_index("ix_versions_base_root", "versions", ["base_root"])
    op.create_index(
        "ix_versions_to_release",
        "versions",
        ["deleted_at"],
        sqlite_where=sa.text("deleted_at IS NOT NULL AND released_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NOT NULL AND released_at IS NULL"),
    )
    op.create_index(
        "uq_versions_live_manifest",
        "versions",
        ["delta_id", "manifest_digest"],
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "uq_versions_semver",
        "versions",
        ["delta_id", "semver"],
        unique=True,
        sqlite_where=sa.text("semver IS NOT NULL"),
        postgresql_where=sa.text("semver IS NOT NULL"),
    )


def create_lineage() -> None:
    op.create_table(
        "lineage",
        sa.Column("version_id", ROW_ID, nullable=False),
        sa.Column("parent_version_id", ROW_ID, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["parent_version_id"], ["versions.id"], name="fk_lineage_parent_version_id"),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name="fk_lineage_version_id"),
        sa.PrimaryKeyConstraint("version_id", "parent_version_id", name="pk_lineage"),
    )
    op.create_index("ix_lineage_parent_version_id", "lineage", ["parent_version_id"])
