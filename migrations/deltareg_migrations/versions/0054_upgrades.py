"""Workers say what they know, servers say that they are there, and the schema says who may use it.

Whether rows may be packed (revision 0053) is said here from now on: where nothing was judged yet,
or servers that pack have been at work, they are; else once `deltareg-migrate finish` has seen that
no server of an older release is left.
"""

import sqlalchemy as sa
from alembic import op

revision = "0054"
down_revision = "0053"
branch_labels = None
depends_on = None

NOW_US = {
    "sqlite": "CAST(strftime('%s', 'now') AS INTEGER) * 1000000",
    "postgresql": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
}
IS_PACKED = {"sqlite": "substr(body, 1, 1) < X'20'", "postgresql": "get_byte(body, 0) < 32"}


def upgrade() -> None:
    op.add_column("workers", sa.Column("knows", sa.JSON()))
    op.add_column("workers", sa.Column("knows_digest", sa.Text()))
    op.add_column("workers", sa.Column("unknown", sa.JSON()))
    op.create_table(
        "schema_steps",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("works_from", sa.Text(), server_default="", nullable=False),
        sa.Column("release", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('expand', 'contract', 'form')", name="kind"),
        sa.PrimaryKeyConstraint("name", name="pk_schema_steps"),
    )
    op.create_table(
        "servers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("release", sa.Text(), nullable=False),
        sa.Column("schema", sa.Text(), nullable=False),
        sa.Column("reads", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_servers"),
    )
    op.create_index("ix_servers_last_seen_at", "servers", ["last_seen_at"])
    op.create_table(
        "release_suites",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_release_suites"),
    )
    dialect = op.get_bind().dialect.name
    op.execute(
        "INSERT INTO schema_steps (name, kind, works_from, release, created_at)"  # noqa: S608  # own words
        f" SELECT 'form 1', 'form', '0053', '', {NOW_US[dialect]}"
        " WHERE NOT EXISTS (SELECT 1 FROM verdict_envelopes)"
        f" OR EXISTS (SELECT 1 FROM verdict_envelopes WHERE {IS_PACKED[dialect]})"
    )


def downgrade() -> None:
    op.drop_table("release_suites")
    op.drop_index("ix_servers_last_seen_at", "servers")
    op.drop_table("servers")
    op.drop_table("schema_steps")
    with op.batch_alter_table("workers") as batch:
        for name in ("unknown", "knows_digest", "knows"):
            batch.drop_column(name)
