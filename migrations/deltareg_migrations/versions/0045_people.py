"""Several people may stand behind a principal, whose owner is a person or a group and may change.

Who stood behind a script or a worker becomes its owner. Rules about people compare everybody who
ever stood behind what was done with everybody who stands behind who acts now.

On the way down one person stays behind each principal, the first; owners, renewals and requests for
namespaces are dropped.
"""

from importlib import import_module

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

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LIVE = sa.text("ended_at IS NULL")
OPEN = sa.text("state = 'open'")


def is_same_person(past: str, now: str = "NEW.principal_id") -> str:
    """Write the condition that one person ever stood behind one principal and stands behind another."""
    return f"""({past} = {now}
        OR EXISTS (SELECT 1 FROM stand_ins AS i WHERE i.principal_id = {past} AND i.person_id = {now})
        OR EXISTS (SELECT 1 FROM stand_ins AS i WHERE i.principal_id = {now} AND i.ended_at IS NULL
            AND i.person_id = {past})
        OR EXISTS (SELECT 1 FROM stand_ins AS i JOIN stand_ins AS j ON j.person_id = i.person_id
            WHERE i.principal_id = {past} AND j.principal_id = {now} AND j.ended_at IS NULL))"""  # noqa: S608  (columns)


PEOPLE_DIFFER = (
    TriggerRule(
        "who pushed a version does not approve it",
        f"""EXISTS (SELECT 1 FROM requests AS r JOIN versions AS v ON v.id = r.version_id
            WHERE r.id = NEW.request_id AND {is_same_person("v.created_by")})""",  # noqa: S608
    ),
    TriggerRule(
        "who opened a request does not approve it",
        f"""EXISTS (SELECT 1 FROM requests AS r WHERE r.id = NEW.request_id
            AND {is_same_person("r.opener_id")})""",  # noqa: S608
    ),
    TriggerRule(
        "one person approves once",
        f"""EXISTS (SELECT 1 FROM approvals AS a WHERE a.request_id = NEW.request_id
            AND a.principal_id <> NEW.principal_id AND {is_same_person("a.principal_id")})""",  # noqa: S608
    ),
)
REVIEW_BY_PERSON = TriggerRule(
    "a review is of a move that broke the glass, by somebody else",
    f"""NOT EXISTS (SELECT 1 FROM revisions AS p WHERE p.id = NEW.revision_id AND p.break_glass
        AND NOT {is_same_person("p.actor_id")})""",  # noqa: S608
)
NO_CHAIN = TriggerRule(
    "who stands behind a principal is a person, and another one",
    """NEW.principal_id = NEW.person_id
        OR EXISTS (SELECT 1 FROM stand_ins AS i WHERE i.principal_id = NEW.person_id)""",
)
ENDS = TriggerRule(
    "who stands behind a principal ends, and does not change otherwise",
    """OLD.id <> NEW.id OR OLD.principal_id <> NEW.principal_id OR OLD.person_id <> NEW.person_id
        OR OLD.created_at <> NEW.created_at OR OLD.ended_at IS NOT NULL""",
)
DECIDED = TriggerRule(
    "a request for a namespace is decided once, and does not change otherwise",
    """OLD.id <> NEW.id OR OLD.name <> NEW.name OR OLD.visibility <> NEW.visibility
        OR OLD.opener_id <> NEW.opener_id OR OLD.created_at <> NEW.created_at OR OLD.state <> 'open'""",
)


def upgrade() -> None:
    before = import_module("deltareg_migrations.versions.0022_grants")
    before.unguard_approvals()  # the rules name a table that is made anew
    rows = _take_stand_ins()
    _create_stand_ins()
    _create_owners()
    _create_origins()
    _create_requests()
    stand_ins, owners = _tables()
    if rows:
        named: list[dict[str, int]] = [
            dict(zip(("principal_id", "person_id", "created_at"), row, strict=True)) for row in rows
        ]
        op.get_bind().execute(sa.insert(stand_ins), named)
        owned = [{"principal_id": row[0], "owner_id": row[1], "created_at": row[2]} for row in rows]
        op.get_bind().execute(sa.insert(owners), owned)
    append_only("stand_ins", changes=("DELETE",))
    append_only("account_owners")
    append_only("token_origins")
    append_only("namespace_requests", changes=("DELETE",))
    refuse("stand_ins", "INSERT", (NO_CHAIN,), name="named")
    refuse("stand_ins", "UPDATE", (ENDS,), name="ended")
    refuse("namespace_requests", "UPDATE", (DECIDED,), name="decided")
    refuse("approvals", "INSERT", (before.OPEN, *PEOPLE_DIFFER, before.BY_SCOPE, before.BY_GRANT), name="given")
    refuse("reviews", "INSERT", (REVIEW_BY_PERSON,), name="given")


def downgrade() -> None:
    before = import_module("deltareg_migrations.versions.0022_grants")
    before.unguard_approvals()
    drop_append_only("namespace_requests")
    drop_append_only("token_origins")
    drop_append_only("account_owners")
    drop_functions("namespace_requests_decided_rules")
    rows = _take_stand_ins()
    drop_functions("stand_ins_ended_rules")
    before.create_stand_ins()
    first: dict[int, tuple[int, int, int]] = {}
    for row in rows:
        first.setdefault(row[0], row)
    if first:
        kept: list[dict[str, int]] = [
            dict(zip(("principal_id", "person_id", "created_at"), row, strict=True)) for row in first.values()
        ]
        op.get_bind().execute(sa.insert(_tables()[0]), kept)
    append_only("stand_ins")
    refuse("stand_ins", "INSERT", before.STAND_IN_RULES, name="named")
    rules = (before.OPEN, *before.PEOPLE_DIFFER, before.BY_SCOPE, before.BY_GRANT)
    refuse("approvals", "INSERT", rules, name="given")
    refuse("reviews", "INSERT", (before.REVIEW_BY_PERSON,), name="given")


def _take_stand_ins() -> list[tuple[int, int, int]]:
    """Drop the table with its triggers; return its rows, those that came first before others."""
    stand_ins = _tables()[0]
    query = sa.select(stand_ins.c.principal_id, stand_ins.c.person_id, stand_ins.c.created_at)
    ordered = query.order_by(stand_ins.c.created_at, stand_ins.c.person_id)
    rows = [(int(row[0]), int(row[1]), int(row[2])) for row in op.get_bind().execute(ordered)]
    drop_triggers("reviews", "given")
    drop_functions("reviews_given_rules")
    drop_append_only("stand_ins")
    drop_functions("stand_ins_named_rules")
    return rows


def _tables() -> tuple[sa.TableClause, sa.TableClause]:
    stand_ins, owners = ("principal_id", "person_id", "created_at"), ("principal_id", "owner_id", "created_at")
    return sa.table("stand_ins", *map(sa.column, stand_ins)), sa.table("account_owners", *map(sa.column, owners))


def _create_stand_ins() -> None:
    op.create_table(
        "stand_ins",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("principal_id", ROW_ID, nullable=False),
        sa.Column("person_id", ROW_ID, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.ForeignKeyConstraint(["person_id"], ["principals.id"], name="fk_stand_ins_person_id"),
        sa.ForeignKeyConstraint(["principal_id"], ["principals.id"], name="fk_stand_ins_principal_id"),
        sa.PrimaryKeyConstraint("id", name="pk_stand_ins"),
    )
    op.create_index(
        "uq_stand_ins_live",
        "stand_ins",
        ["principal_id", "person_id"],
        unique=True,
        sqlite_where=LIVE,
        postgresql_where=LIVE,
    )
    op.create_index("ix_stand_ins_person_id", "stand_ins", ["person_id"])


def _create_owners() -> None:
    op.create_table(
        "account_owners",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("principal_id", ROW_ID, nullable=False),
        sa.Column("owner_id", ROW_ID, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", ROW_ID),
        sa.ForeignKeyConstraint(["created_by"], ["principals.id"], name="fk_account_owners_created_by"),
        sa.ForeignKeyConstraint(["owner_id"], ["principals.id"], name="fk_account_owners_owner_id"),
        sa.ForeignKeyConstraint(["principal_id"], ["principals.id"], name="fk_account_owners_principal_id"),
        sa.PrimaryKeyConstraint("id", name="pk_account_owners"),
    )
    for column in ("principal_id", "owner_id"):
        op.create_index(f"ix_account_owners_{column}", "account_owners", [column])


def _create_origins() -> None:
    op.create_table(
        "token_origins",
        sa.Column("token_id", ROW_ID, nullable=False),
        sa.Column("renews", ROW_ID),
        sa.Column("made_with", ROW_ID),
        sa.ForeignKeyConstraint(["made_with"], ["tokens.id"], name="fk_token_origins_made_with"),
        sa.ForeignKeyConstraint(["renews"], ["tokens.id"], name="fk_token_origins_renews"),
        sa.ForeignKeyConstraint(["token_id"], ["tokens.id"], name="fk_token_origins_token_id"),
        sa.PrimaryKeyConstraint("token_id", name="pk_token_origins"),
    )
    for column in ("renews", "made_with"):
        op.create_index(f"ix_token_origins_{column}", "token_origins", [column])


def _create_requests() -> None:
    op.create_table(
        "namespace_requests",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("visibility", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("opener_id", ROW_ID, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("decided_at", sa.BigInteger()),
        sa.Column("decided_by", ROW_ID),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.CheckConstraint("state IN ('open', 'granted', 'refused')", name=op.f("ck_namespace_requests_state")),
        sa.CheckConstraint(
            "visibility IN ('private', 'internal', 'public')", name=op.f("ck_namespace_requests_visibility")
        ),
        sa.ForeignKeyConstraint(["decided_by"], ["principals.id"], name="fk_namespace_requests_decided_by"),
        sa.ForeignKeyConstraint(["opener_id"], ["principals.id"], name="fk_namespace_requests_opener_id"),
        sa.PrimaryKeyConstraint("id", name="pk_namespace_requests"),
    )
    op.create_index(
        "uq_namespace_requests_open",
        "namespace_requests",
        ["name", "opener_id"],
        unique=True,
        sqlite_where=OPEN,
        postgresql_where=OPEN,
    )
    op.create_index("ix_namespace_requests_opener_id", "namespace_requests", ["opener_id"])
