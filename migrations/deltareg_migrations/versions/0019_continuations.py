"""A waiver counts on one channel, and only for a verdict in which everything else has been shown.

Waivers of the release before name no channel and count on all, as they were given. A failed
verdict of it is not known to be complete, so a waived one is continued before it opens a gate.
Warnings that were accepted with a request are kept beside it.
"""

import sqlalchemy as sa
from alembic import op

from deltareg_migrations.triggers import (
    TriggerRule,
    append_only,
    drop_append_only,
    drop_functions,
    drop_triggers,
    refuse,
)

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

WAIVED_RULES = (
    TriggerRule(
        "a waiver opens the gate of the channel that it names",
        """<promotes> AND EXISTS (SELECT 1 FROM verdicts AS w WHERE w.id IN (<named_verdicts>)
            AND w.verdict = 'fail' AND EXISTS (SELECT 1 <w_failed> AND NOT EXISTS
                (SELECT 1 FROM waivers AS y
                LEFT JOIN waiver_channels AS z ON z.waiver_id = y.id
                WHERE y.verdict_id = w.id AND <waiver_stands>
                AND COALESCE(z.channel_id, NEW.channel_id) = NEW.channel_id)))""",
    ),
    TriggerRule(
        "a waiver opens the gate once everything else has been shown",
        """<promotes> AND EXISTS (SELECT 1 FROM verdicts AS w WHERE w.id IN (<named_verdicts>)
            AND w.verdict = 'fail' AND NOT EXISTS
                (SELECT 1 FROM complete_verdicts AS k WHERE k.verdict_id = w.id))""",
    ),
)
CHANNEL_RULES = (
    TriggerRule(
        "a waiver names a channel of the line that its verdict is about",
        """NOT EXISTS (SELECT 1 FROM waivers AS y JOIN verdicts AS w ON w.id = y.verdict_id
            JOIN versions AS v ON v.id = w.version_id JOIN channels AS c
            ON c.delta_id = v.delta_id WHERE y.id = NEW.waiver_id AND c.id = NEW.channel_id)""",
    ),
)


def upgrade() -> None:
    op.create_table(
        "waiver_channels",
        sa.Column("waiver_id", sa.Text(), nullable=False),
        sa.Column("channel_id", ROW_ID, nullable=False),
        sa.Column("origin_id", sa.Text()),
        sa.ForeignKeyConstraint(["waiver_id"], ["waivers.id"], name="fk_waiver_channels_waiver_id"),
        sa.ForeignKeyConstraint(["channel_id"], ["channels.id"], name="fk_waiver_channels_channel_id"),
        sa.ForeignKeyConstraint(["origin_id"], ["waivers.id"], name="fk_waiver_channels_origin_id"),
        sa.PrimaryKeyConstraint("waiver_id", name="pk_waiver_channels"),
    )
    op.create_index("ix_waiver_channels_origin_id", "waiver_channels", ["origin_id"])
    op.create_table(
        "complete_verdicts",
        sa.Column("verdict_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["verdict_id"], ["verdicts.id"], name="fk_complete_verdicts_verdict_id"),
        sa.PrimaryKeyConstraint("verdict_id", name="pk_complete_verdicts"),
    )
    op.create_table(
        "accepted_warnings",
        sa.Column("request_id", ROW_ID, nullable=False),
        sa.Column("warning", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name="fk_accepted_warnings_request_id"),
        sa.PrimaryKeyConstraint("request_id", "warning", name="pk_accepted_warnings"),
    )
    for table in ("waiver_channels", "complete_verdicts", "accepted_warnings"):
        append_only(table)
    refuse("waiver_channels", "INSERT", CHANNEL_RULES, name="own_line")
    refuse("revisions", "INSERT", WAIVED_RULES, name="waived")


def downgrade() -> None:
    drop_triggers("revisions", "waived")
    for table in ("accepted_warnings", "complete_verdicts", "waiver_channels"):
        drop_append_only(table)
    drop_functions("revisions_waived_rules", "waiver_channels_own_line_rules")
