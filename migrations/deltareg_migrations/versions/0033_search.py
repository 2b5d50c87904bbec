"""What versions are found by: cards, terms, metrics. A server reads what was there before."""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TERM = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _of_version(table: str) -> tuple[sa.Column[int], sa.ForeignKeyConstraint]:
    return (
        sa.Column("version_id", ROW_ID, nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name=f"fk_{table}_version_id"),
    )


def upgrade() -> None:
    op.create_table(
        "cards",
        *_of_version("cards"),
        sa.Column("document", sa.LargeBinary()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("version_id", name="pk_cards"),
    )
    op.create_table(
        "search_terms",
        sa.Column("term", TERM, nullable=False),
        *_of_version("search_terms"),
        sa.PrimaryKeyConstraint("term", "version_id", name="pk_search_terms"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_search_terms_version_id_term", "search_terms", ["version_id", "term"])
    op.create_table(
        "version_metrics",
        sa.Column("name", TERM, nullable=False),
        *_of_version("version_metrics"),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("value", sa.Double[float](), nullable=False),
        sa.PrimaryKeyConstraint("name", "version_id", "source", name="pk_version_metrics"),
    )
    op.create_index("ix_version_metrics_name_value", "version_metrics", ["name", "value"])
    op.create_index("ix_version_metrics_version_id", "version_metrics", ["version_id"])


def downgrade() -> None:
    op.drop_table("version_metrics")
    op.drop_table("search_terms")
    op.drop_table("cards")
