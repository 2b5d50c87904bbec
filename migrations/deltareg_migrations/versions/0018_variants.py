"""Bases in few bits are variants of a base in full precision, and bases know their hub ids.

A verdict may be about a version on a variant of its base, where its run says so: its `base_root` is
the variant's. Code of the release before never counts such a one, for it is about another base.
"""

import sqlalchemy as sa
from alembic import op

from deltareg_migrations.triggers import TriggerRule, drop_functions, drop_triggers, refuse

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LIVE = sa.text("deleted_at IS NULL")

OF_OWN_BASE = TriggerRule(
    "a verdict is about its version, with its digest and its base",
    """NOT EXISTS (SELECT 1 <of_version> AND v.manifest_digest = NEW.manifest_digest
        AND v.base_root = NEW.base_root)""",
)
OF_BASE_OR_VARIANT = TriggerRule(
    "a verdict is about its version, with its digest and its base, or the variant that its run names",
    """NOT EXISTS (SELECT 1 <of_version> AND v.manifest_digest = NEW.manifest_digest
        AND NEW.base_root = COALESCE((SELECT <asked_base_root> FROM runs AS q
            WHERE q.id = NEW.run_id), v.base_root)
        AND (NEW.base_root = v.base_root OR EXISTS (SELECT 1 FROM bases AS b
            JOIN base_variants AS w ON w.base_id = b.id JOIN bases AS r ON r.id = w.root_id
            WHERE b.root = NEW.base_root AND r.root = v.base_root)))""",
)
OTHERS = (
    TriggerRule(
        "a verdict is of a run of its version and its suite that has ended",
        """NOT EXISTS (SELECT 1 FROM runs AS q WHERE q.id = NEW.run_id AND q.what = 'verify'
            AND q.version_id = NEW.version_id AND q.suite = NEW.suite
            AND <asked_suite_digest> = NEW.suite_digest
            AND q.state NOT IN ('queued', 'running'))""",
    ),
    TriggerRule(
        "a pass has checks, and none of them failed",
        "NEW.verdict = 'pass' AND (<count_checks> = 0 OR EXISTS (<failed_checks>))",
    ),
)


def upgrade() -> None:
    create_tables()
    op.create_index("ix_versions_live_base", "versions", ["base_id", "id"], sqlite_where=LIVE, postgresql_where=LIVE)
    bind_verdicts(OF_BASE_OR_VARIANT)


def downgrade() -> None:
    bind_verdicts(OF_OWN_BASE)
    op.drop_index("ix_versions_live_base", "versions")
    for table in ("version_variants", "base_hub_ids", "base_variants"):
        op.drop_table(table)


def bind_verdicts(rule: TriggerRule) -> None:
    """Put a rule in the place of the one that says what a verdict may be about."""
    drop_triggers("verdicts", "bound")
    drop_functions("verdicts_bound_rules")
    refuse("verdicts", "INSERT", (rule, *OTHERS), name="bound")


def create_tables() -> None:
    op.create_table(
        "base_variants",
        sa.Column("base_id", ROW_ID, nullable=False),
        sa.Column("root_id", ROW_ID, nullable=False),
        sa.Column("scheme", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("base_id <> root_id", name=op.f("ck_base_variants_other")),
        sa.ForeignKeyConstraint(["base_id"], ["bases.id"], name="fk_base_variants_base_id"),
        sa.ForeignKeyConstraint(["root_id"], ["bases.id"], name="fk_base_variants_root_id"),
        sa.PrimaryKeyConstraint("base_id", name="pk_base_variants"),
    )
    op.create_index("ix_base_variants_root_id", "base_variants", ["root_id"])
    op.create_table(
        "base_hub_ids",
        sa.Column("base_id", ROW_ID, nullable=False),
        sa.Column("hub_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["base_id"], ["bases.id"], name="fk_base_hub_ids_base_id"),
        sa.PrimaryKeyConstraint("base_id", "hub_id", "revision", name="pk_base_hub_ids"),
    )
    op.create_index("ix_base_hub_ids_hub_id", "base_hub_ids", ["hub_id"])
    op.create_table(
        "version_variants",
        sa.Column("version_id", ROW_ID, nullable=False),
        sa.Column("base_id", ROW_ID, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["base_id"], ["bases.id"], name="fk_version_variants_base_id"),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name="fk_version_variants_version_id"),
        sa.PrimaryKeyConstraint("version_id", name="pk_version_variants"),
    )
    op.create_index("ix_version_variants_base_id", "version_variants", ["base_id"])
