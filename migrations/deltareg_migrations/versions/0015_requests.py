"""Requests, approvals and reviews, and what the database itself refuses of moves and verdicts."""

import sqlalchemy as sa
from alembic import op

from deltareg_migrations.triggers import (
    TriggerRule,
    append_only,
    drop_append_only,
    drop_functions,
    drop_triggers,
    follow,
    refuse,
)

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

REVISION_RULES = (
    TriggerRule(
        "a revision follows the channel at the number that the channel has",
        "NOT EXISTS (SELECT 1 <in_channel> AND c.revision = NEW.number)",
    ),
    TriggerRule(
        "a move names a version of its own line, with its digest and its base",
        """<moves> AND NOT EXISTS (SELECT 1 <of_version> AND v.manifest_digest = NEW.digest
            AND v.base_root = NEW.base_root
            AND v.delta_id = (SELECT c.delta_id <in_channel>))""",
    ),
    TriggerRule(
        "a freeze serves on what was served",
        """NOT (<moves>) AND COALESCE(NEW.version_id, 0) <> COALESCE((SELECT p.version_id
            FROM revisions AS p WHERE p.channel_id = NEW.channel_id AND p.number = NEW.number - 1),
            0)""",
    ),
    TriggerRule("a freeze breaks no glass", "NOT (<moves>) AND NEW.break_glass"),
    TriggerRule("the version is deleted", "<moves> AND EXISTS (SELECT 1 <of_version> AND v.deleted_at IS NOT NULL)"),
    TriggerRule("the version is revoked", "<moves> AND EXISTS (SELECT 1 <of_version> AND v.revoked_at IS NOT NULL)"),
    TriggerRule(
        "a move of a protected channel needs a reason, and so does breaking the glass",
        "NEW.reason = '' AND (NEW.break_glass OR EXISTS (SELECT 1 <in_channel> AND <policy_flag>))",
    ),
    TriggerRule(
        "the channel is frozen",
        """<moves> AND <guarded> AND EXISTS (SELECT 1 FROM revisions AS p
            WHERE p.channel_id = NEW.channel_id AND p.number = NEW.number - 1 AND p.kind = 'freeze'
            AND NOT EXISTS (SELECT 1 FROM freezes AS f
                WHERE f.revision_id = p.id AND f.ends_at <= <now_us>))""",
    ),
    TriggerRule(
        "the version is quarantined on the channel",
        """<promotes> AND EXISTS (SELECT 1 FROM quarantines AS a
            WHERE a.channel_id = NEW.channel_id AND a.version_id = NEW.version_id
            AND a.cleared_at IS NULL)""",
    ),
    TriggerRule(
        "a rollback goes to what the channel served before",
        """NEW.kind = 'rollback' AND NOT EXISTS (SELECT 1 FROM revisions AS p
            WHERE p.channel_id = NEW.channel_id AND p.version_id = NEW.version_id
            AND p.kind IN ('promote', 'rollback'))""",
    ),
    TriggerRule(
        "a promotion names a passing verdict of every suite, as the channel asks for it now",
        """<promotes> AND EXISTS (SELECT 1 FROM channels AS c, <policy_suites>
            WHERE c.id = NEW.channel_id AND NOT EXISTS (SELECT 1 FROM verdicts AS w
                WHERE w.id IN (<named_verdicts>) AND w.version_id = NEW.version_id
                AND w.manifest_digest = NEW.digest AND w.base_root = NEW.base_root
                AND w.suite = <suite_name> AND (w.verdict = 'pass' OR (<w_waived>))
                AND NOT EXISTS (SELECT 1 FROM terms AS d WHERE d.channel_id = c.id
                    AND d.id = (SELECT max(e.id) FROM terms AS e WHERE e.channel_id = c.id)
                    AND (COALESCE(<terms_digest>, '') <> w.suite_digest
                        OR w.policy_digest NOT IN ('', d.policy_digest)))
                AND (<suite_age> IS NULL OR w.created_at >= <now_us> - 1000000
                    * CAST(substr(<suite_age>, 1, length(<suite_age>) - 1) AS BIGINT)
                    * CASE substr(<suite_age>, length(<suite_age>))
                        WHEN 'w' THEN 604800 WHEN 'd' THEN 86400 WHEN 'h' THEN 3600
                        WHEN 'm' THEN 60 ELSE 1 END)
                AND NOT EXISTS (SELECT 1 FROM verdicts AS x WHERE x.version_id = w.version_id
                    AND x.suite = w.suite AND x.suite_digest = w.suite_digest
                    AND x.verdict = 'fail' AND NOT (<x_waived>)
                    AND x.verifier = w.verifier AND x.seed = w.seed
                    AND x.dtype = w.dtype
                    AND x.manifest_digest = w.manifest_digest AND x.base_root = w.base_root
                    AND (x.created_at > w.created_at
                        OR (x.created_at = w.created_at AND x.id > w.id)))))""",
    ),
    TriggerRule(
        "the approvals that the channel asks for are not there",
        """<promotes> AND EXISTS (SELECT 1 <in_channel> AND <policy_number> > 0
            AND NOT EXISTS (SELECT 1 FROM requests AS r WHERE r.channel_id = c.id
                AND r.version_id = NEW.version_id AND r.digest = NEW.digest AND r.state = 'open'
                AND (SELECT count(*) FROM approvals AS a WHERE a.request_id = r.id)
                    >= <policy_number>))""",
    ),
)

APPROVAL_RULES = (
    TriggerRule(
        "the request is not open",
        """NOT EXISTS (SELECT 1 FROM requests AS r
            WHERE r.id = NEW.request_id AND r.state = 'open')""",
    ),
    TriggerRule(
        "who pushed a version does not approve it",
        """EXISTS (SELECT 1 FROM requests AS r JOIN versions AS v ON v.id = r.version_id
            WHERE r.id = NEW.request_id AND v.created_by = NEW.principal_id)""",
    ),
    TriggerRule(
        "who opened a request does not approve it",
        """EXISTS (SELECT 1 FROM requests AS r
            WHERE r.id = NEW.request_id AND r.opener_id = NEW.principal_id)""",
    ),
    TriggerRule(
        "an approval comes with a live token of the approver that allows it",
        """NOT EXISTS (SELECT 1 FROM tokens AS k JOIN principals AS o ON o.id = k.principal_id
            WHERE k.id = NEW.token_id AND k.principal_id = NEW.principal_id
            AND k.revoked_at IS NULL AND o.disabled_at IS NULL
            AND (k.expires_at IS NULL OR k.expires_at > <now_us>)
            AND ('approve' IN (<token_scopes>) OR 'admin' IN (<token_scopes>)))""",
    ),
)

REQUEST_RULES = (
    TriggerRule("a request begins open", "NEW.state <> 'open'"),
    TriggerRule(
        "a request names a version of the line of its channel, with its digest",
        """NOT EXISTS (SELECT 1 <of_version> AND v.manifest_digest = NEW.digest
            AND v.delta_id = (SELECT c.delta_id <in_channel>))""",
    ),
)

REQUEST_CHANGE_RULES = (
    TriggerRule("a request that was decided stays as it is", "OLD.state <> 'open'"),
    TriggerRule(
        "what a request is for does not change",
        """OLD.id <> NEW.id OR OLD.channel_id <> NEW.channel_id OR OLD.version_id <> NEW.version_id
            OR OLD.digest <> NEW.digest OR OLD.policy_digest <> NEW.policy_digest
            OR OLD.seen_revision <> NEW.seen_revision OR OLD.opener_id <> NEW.opener_id
            OR OLD.reason <> NEW.reason OR OLD.created_at <> NEW.created_at""",
    ),
)

VERDICT_RULES = (
    TriggerRule(
        "a verdict is about its version, with its digest and its base",
        """NOT EXISTS (SELECT 1 <of_version> AND v.manifest_digest = NEW.manifest_digest
            AND v.base_root = NEW.base_root)""",
    ),
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

REVIEW_RULES = (
    TriggerRule(
        "a review is of a move that broke the glass, by somebody else",
        """NOT EXISTS (SELECT 1 FROM revisions AS p WHERE p.id = NEW.revision_id AND p.break_glass
            AND p.actor_id <> NEW.principal_id)""",
    ),
)

VERSION_RULES = (
    TriggerRule(
        "what a version is and who pushed it does not change",
        """OLD.delta_id <> NEW.delta_id OR OLD.number <> NEW.number
            OR OLD.manifest_digest <> NEW.manifest_digest OR OLD.base_root <> NEW.base_root
            OR COALESCE(OLD.created_by, 0) <> COALESCE(NEW.created_by, 0)""",
    ),
)

CHANNEL_RULES = (
    TriggerRule(
        "a channel goes on by one revision at a time",
        "NEW.revision <> OLD.revision AND NEW.revision <> OLD.revision + 1",
    ),
)

# A move answers the request for its version, and leaves the others without the state they saw.
AFTER_MOVE = """UPDATE requests SET
    state = CASE WHEN NEW.kind = 'promote' AND version_id = NEW.version_id
        THEN 'promoted' ELSE 'stale' END,
    revision_id = CASE WHEN NEW.kind = 'promote' AND version_id = NEW.version_id
        THEN NEW.id END,
    decided_at = NEW.created_at, decided_by = NEW.actor_id,
    decision = CASE WHEN NEW.kind = 'promote' AND version_id = NEW.version_id
        THEN '' ELSE 'the channel moved on' END
    WHERE channel_id = NEW.channel_id AND state = 'open' AND NEW.kind IN ('promote', 'rollback')"""

AFTER_POLICY = """UPDATE requests SET state = 'stale', decision = 'the policy changed'
    WHERE channel_id = NEW.id AND state = 'open'
    AND CAST(OLD.policy AS TEXT) <> CAST(NEW.policy AS TEXT)"""


def upgrade() -> None:
    create_requests()
    create_approvals()
    create_reviews()
    create_terms()
    append_only("approvals")
    append_only("reviews")
    append_only("terms")
    append_only("requests", changes=("DELETE",))
    append_only("verdicts")
    refuse("requests", "INSERT", REQUEST_RULES, name="opened")
    refuse("requests", "UPDATE", REQUEST_CHANGE_RULES, name="decided")
    refuse("approvals", "INSERT", APPROVAL_RULES, name="given")
    refuse("reviews", "INSERT", REVIEW_RULES, name="given")
    refuse("verdicts", "INSERT", VERDICT_RULES, name="bound")
    refuse("versions", "UPDATE", VERSION_RULES, name="identity")
    refuse("channels", "UPDATE", CHANNEL_RULES, name="advanced")
    refuse("revisions", "INSERT", REVISION_RULES, name="gated")
    follow("revisions", "INSERT", AFTER_MOVE, name="answers")
    follow("channels", "UPDATE", AFTER_POLICY, name="policy")


def downgrade() -> None:
    drop_triggers("revisions", "gated", "answers")
    drop_triggers("channels", "advanced", "policy")
    drop_triggers("versions", "identity")
    changes = ("no_update", "no_delete")
    if op.get_bind().dialect.name == "postgresql":
        changes = ("no_change", "no_truncate")
    drop_triggers("verdicts", "bound", *changes)
    for table in ("terms", "reviews", "approvals", "requests"):
        drop_append_only(table)
    drop_functions(
        "approvals_given_rules",
        "channels_advanced_rules",
        "channels_policy_follows",
        "requests_decided_rules",
        "requests_opened_rules",
        "reviews_given_rules",
        "revisions_answers_follows",
        "revisions_gated_rules",
        "verdicts_bound_rules",
        "verdicts_is_append_only",
        "versions_identity_rules",
    )


def create_requests() -> None:
    op.create_table(
        "requests",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("channel_id", ROW_ID, nullable=False),
        sa.Column("version_id", ROW_ID, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("policy_digest", sa.Text(), nullable=False),
        sa.Column("seen_revision", sa.BigInteger(), nullable=False),
        sa.Column("opener_id", ROW_ID, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("decided_at", sa.BigInteger()),
        sa.Column("decided_by", ROW_ID),
        sa.Column("decision", sa.Text(), server_default="", nullable=False),
        sa.Column("revision_id", ROW_ID),
        sa.CheckConstraint("(state = 'promoted') = (revision_id IS NOT NULL)", name=op.f("ck_requests_promoted")),
        sa.CheckConstraint(
            "state IN ('open', 'promoted', 'rejected', 'withdrawn', 'stale')", name=op.f("ck_requests_state")
        ),
        sa.ForeignKeyConstraint(["channel_id"], ["channels.id"], name="fk_requests_channel_id"),
        sa.ForeignKeyConstraint(["decided_by"], ["principals.id"], name="fk_requests_decided_by"),
        sa.ForeignKeyConstraint(["opener_id"], ["principals.id"], name="fk_requests_opener_id"),
        sa.ForeignKeyConstraint(["revision_id"], ["revisions.id"], name="fk_requests_revision_id"),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name="fk_requests_version_id"),
        sa.PrimaryKeyConstraint("id", name="pk_requests"),
    )
    op.create_index("ix_requests_revision_id", "requests", ["revision_id"])
    op.create_index(
        "uq_requests_open",
        "requests",
        ["channel_id", "version_id"],
        unique=True,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )


def create_approvals() -> None:
    op.create_table(
        "approvals",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("request_id", ROW_ID, nullable=False),
        sa.Column("principal_id", ROW_ID, nullable=False),
        sa.Column("token_id", ROW_ID, nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["principal_id"], ["principals.id"], name="fk_approvals_principal_id"),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name="fk_approvals_request_id"),
        sa.ForeignKeyConstraint(["token_id"], ["tokens.id"], name="fk_approvals_token_id"),
        sa.PrimaryKeyConstraint("id", name="pk_approvals"),
        sa.UniqueConstraint("request_id", "principal_id", name="uq_approvals_request_id_principal_id"),
    )


def create_reviews() -> None:
    op.create_table(
        "reviews",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("revision_id", ROW_ID, nullable=False),
        sa.Column("principal_id", ROW_ID, nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["principal_id"], ["principals.id"], name="fk_reviews_principal_id"),
        sa.ForeignKeyConstraint(["revision_id"], ["revisions.id"], name="fk_reviews_revision_id"),
        sa.PrimaryKeyConstraint("id", name="pk_reviews"),
        sa.UniqueConstraint("revision_id", name="uq_reviews_revision_id"),
    )


def create_terms() -> None:
    op.create_table(
        "terms",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("channel_id", ROW_ID, nullable=False),
        sa.Column("policy_digest", sa.Text(), nullable=False),
        sa.Column("suites", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["channel_id"], ["channels.id"], name="fk_terms_channel_id"),
        sa.PrimaryKeyConstraint("id", name="pk_terms"),
    )
    op.create_index("ix_terms_channel_id_id", "terms", ["channel_id", "id"])
