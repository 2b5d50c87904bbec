"""Packs, who needs them, pieces and uploads."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    create_packs()
    create_version_packs()
    create_base_packs()
    create_pieces()
    create_piece_packs()
    create_uploads()
    create_upload_packs()


def downgrade() -> None:
    for table in ("upload_packs", "uploads", "piece_packs", "pieces", "base_packs", "version_packs", "packs"):
        op.drop_table(table)


def create_packs() -> None:
    op.create_table(
        "packs",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("physical_key", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("state IN ('live', 'deleting')", name=op.f("ck_packs_state")),
        sa.PrimaryKeyConstraint("id", name="pk_packs"),
        sa.UniqueConstraint("physical_key", name="uq_packs_physical_key"),
        sa.UniqueConstraint("scope", "digest", name="uq_packs_scope_digest"),
    )
    op.create_index("ix_packs_state_id", "packs", ["state", "id"])


def create_version_packs() -> None:
    op.create_table(
        "version_packs",
        sa.Column("version_id", ROW_ID, nullable=False),
        sa.Column("pack_id", ROW_ID, nullable=False),
        sa.ForeignKeyConstraint(["pack_id"], ["packs.id"], name="fk_version_packs_pack_id", ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name="fk_version_packs_version_id", ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("version_id", "pack_id", name="pk_version_packs"),
    )
    op.create_index("ix_version_packs_pack_id", "version_packs", ["pack_id"])


def create_base_packs() -> None:
    op.create_table(
        "base_packs",
        sa.Column("base_id", ROW_ID, nullable=False),
        sa.Column("pack_id", ROW_ID, nullable=False),
        sa.ForeignKeyConstraint(["base_id"], ["bases.id"], name="fk_base_packs_base_id", ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(["pack_id"], ["packs.id"], name="fk_base_packs_pack_id", ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("base_id", "pack_id", name="pk_base_packs"),
    )
    op.create_index("ix_base_packs_pack_id", "base_packs", ["pack_id"])


def create_pieces() -> None:
    op.create_table(
        "pieces",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("base_root", sa.Text(), server_default="", nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pieces"),
        sa.UniqueConstraint("scope", "digest", "base_root", name="uq_pieces_scope_digest_base_root"),
    )


def create_piece_packs() -> None:
    op.create_table(
        "piece_packs",
        sa.Column("piece_id", ROW_ID, nullable=False),
        sa.Column("pack_id", ROW_ID, nullable=False),
        sa.ForeignKeyConstraint(["pack_id"], ["packs.id"], name="fk_piece_packs_pack_id", ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(["piece_id"], ["pieces.id"], name="fk_piece_packs_piece_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("piece_id", "pack_id", name="pk_piece_packs"),
    )
    op.create_index("ix_piece_packs_pack_id", "piece_packs", ["pack_id"])


def create_uploads() -> None:
    op.create_table(
        "uploads",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("principal_id", ROW_ID, nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("manifest_digest", sa.Text(), nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("touched_at", sa.BigInteger(), nullable=False),
        sa.Column("version_id", ROW_ID),
        sa.Column("base_id", ROW_ID),
        sa.CheckConstraint("state IN ('open', 'complete', 'aborted', 'expired')", name=op.f("ck_uploads_state")),
        sa.CheckConstraint("subject IN ('delta', 'base')", name=op.f("ck_uploads_subject")),
        sa.ForeignKeyConstraint(["base_id"], ["bases.id"], name="fk_uploads_base_id"),
        sa.ForeignKeyConstraint(["principal_id"], ["principals.id"], name="fk_uploads_principal_id"),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name="fk_uploads_version_id"),
        sa.PrimaryKeyConstraint("id", name="pk_uploads"),
    )
    op.create_index("ix_uploads_principal_id", "uploads", ["principal_id"])
    op.create_index("ix_uploads_state_touched_at", "uploads", ["state", "touched_at"])


def create_upload_packs() -> None:
    op.create_table(
        "upload_packs",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("upload_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("physical_key", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text()),
        sa.Column("size_bytes", sa.BigInteger()),
        sa.Column("state", sa.Text(), server_default="writing", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "state IN ('writing', 'received', 'adopted', 'dropped')", name=op.f("ck_upload_packs_state")
        ),
        sa.ForeignKeyConstraint(["upload_id"], ["uploads.id"], name="fk_upload_packs_upload_id"),
        sa.PrimaryKeyConstraint("id", name="pk_upload_packs"),
        sa.UniqueConstraint("physical_key", name="uq_upload_packs_physical_key"),
    )
    op.create_index(
        "ix_upload_packs_unadopted",
        "upload_packs",
        ["id"],
        sqlite_where=sa.text("state != 'adopted'"),
        postgresql_where=sa.text("state != 'adopted'"),
    )
    op.create_index("ix_upload_packs_upload_id_number", "upload_packs", ["upload_id", "number"])
