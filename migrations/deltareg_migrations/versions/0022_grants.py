"""Namespaces have owners: grants, how visible a namespace is, who stands behind a script's name.

Who made a namespace owns it. The principals of live tokens keep what their tokens allow, on
everything, as grants that are marked `legacy`. Code of the release before goes by the scopes of
tokens alone; a token that it makes has no grants, and allows nothing here until it is given some.
"""

from typing import Literal

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations

from deltareg_migrations.triggers import (
    TriggerRule,
    append_only,
    drop_append_only,
    drop_functions,
    drop_triggers,
    refuse,
)

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ROLES = {
    "read": "reader",
    "push": "pusher",
    "promote": "promoter",
    "approve": "approver",
    "verify": "verifier",
    "serve": "server",
    "break-glass": "break-glass",
    "admin": "admin",
}
NAMES = ", ".join(
    f"'{name}'"
    for name in (
        "owner",
        "maintainer",
        "promoter",
        "approver",
        "pusher",
        "reader",
        "server",
        "verifier",
        "break-glass",
        "admin",
    )
)
LIVE_EVERYWHERE = sa.text("ended_at IS NULL AND namespace_id IS NULL")
LIVE_WITHIN = sa.text("ended_at IS NULL AND namespace_id IS NOT NULL")

BY_SCOPE = TriggerRule(
    "an approval comes with a live token of the approver that allows it",
    """NOT EXISTS (SELECT 1 FROM tokens AS k JOIN principals AS o ON o.id = k.principal_id
        WHERE k.id = NEW.token_id AND k.principal_id = NEW.principal_id
        AND k.revoked_at IS NULL AND o.disabled_at IS NULL
        AND (k.expires_at IS NULL OR k.expires_at > <now_us>)
        AND ('approve' IN (<token_scopes>) OR 'admin' IN (<token_scopes>)))""",
)
BY_GRANT = TriggerRule(
    "an approval comes of a role that approves in the namespace of the request",
    """NOT EXISTS (SELECT 1 FROM grants AS g WHERE g.principal_id = NEW.principal_id
        AND g.ended_at IS NULL AND g.role IN ('admin', 'owner', 'maintainer', 'approver')
        AND (g.namespace_id IS NULL OR g.namespace_id = (SELECT l.namespace_id FROM requests AS r
            JOIN versions AS v ON v.id = r.version_id JOIN deltas AS l ON l.id = v.delta_id
            WHERE r.id = NEW.request_id)))""",
)
OPEN = TriggerRule(
    "the request is not open",
    """NOT EXISTS (SELECT 1 FROM requests AS r
        WHERE r.id = NEW.request_id AND r.state = 'open')""",
)
PRINCIPALS_DIFFER = (
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
)


PEOPLE_DIFFER = (
    TriggerRule(
        "who pushed a version does not approve it",
        """EXISTS (SELECT 1 FROM requests AS r JOIN versions AS v ON v.id = r.version_id
            WHERE r.id = NEW.request_id
            AND <person_of_uploader> = <person_of_new>)""",
    ),
    TriggerRule(
        "who opened a request does not approve it",
        """EXISTS (SELECT 1 FROM requests AS r WHERE r.id = NEW.request_id
            AND <person_of_opener> = <person_of_new>)""",
    ),
    TriggerRule(
        "one person approves once",
        """EXISTS (SELECT 1 FROM approvals AS a WHERE a.request_id = NEW.request_id
            AND a.principal_id <> NEW.principal_id
            AND <person_of_approver> = <person_of_new>)""",
    ),
)
REVIEW_BY_PRINCIPAL = TriggerRule(
    "a review is of a move that broke the glass, by somebody else",
    """NOT EXISTS (SELECT 1 FROM revisions AS p WHERE p.id = NEW.revision_id AND p.break_glass
        AND p.actor_id <> NEW.principal_id)""",
)
REVIEW_BY_PERSON = TriggerRule(
    "a review is of a move that broke the glass, by somebody else",
    """NOT EXISTS (SELECT 1 FROM revisions AS p WHERE p.id = NEW.revision_id AND p.break_glass
        AND <person_of_actor> <> <person_of_new>)""",
)
GRANT_RULES = (
    TriggerRule(
        "a grant ends, and does not change otherwise",
        """OLD.id <> NEW.id OR OLD.principal_id <> NEW.principal_id OR OLD.role <> NEW.role
            OR COALESCE(OLD.namespace_id, 0) <> COALESCE(NEW.namespace_id, 0)
            OR OLD.pattern <> NEW.pattern OR OLD.is_legacy <> NEW.is_legacy
            OR OLD.created_at <> NEW.created_at
            OR COALESCE(OLD.created_by, 0) <> COALESCE(NEW.created_by, 0)
            OR OLD.ended_at IS NOT NULL""",
    ),
)
STAND_IN_RULES = (
    TriggerRule(
        "who stands behind a principal is a person, and another one",
        """NEW.principal_id = NEW.person_id
            OR EXISTS (SELECT 1 FROM stand_ins AS i WHERE i.principal_id = NEW.person_id)""",
    ),
)


def upgrade() -> None:
    create_grants()
    create_stand_ins()
    create_epochs()
    with op.batch_alter_table("namespaces", recreate=recreation()) as batch:
        batch.add_column(sa.Column("visibility", sa.Text(), server_default="internal", nullable=False))
    unguard_approvals()  # the rules name tokens, which SQLite makes anew
    with op.batch_alter_table("tokens", recreate=recreation()) as batch:
        keep_default(batch)
        batch.add_column(sa.Column("namespaces", sa.JSON()))
    give_what_was_held()
    append_only("grants", changes=("DELETE",))
    append_only("stand_ins")
    refuse("grants", "UPDATE", GRANT_RULES, name="ended")
    refuse("stand_ins", "INSERT", STAND_IN_RULES, name="named")
    refuse("approvals", "INSERT", (OPEN, *PEOPLE_DIFFER, BY_SCOPE, BY_GRANT), name="given")
    guard_reviews(REVIEW_BY_PERSON)


def downgrade() -> None:
    guard_reviews(REVIEW_BY_PRINCIPAL)
    unguard_approvals()
    with op.batch_alter_table("tokens", recreate=recreation()) as batch:
        keep_default(batch)
        batch.drop_column("namespaces")
    refuse("approvals", "INSERT", (OPEN, *PRINCIPALS_DIFFER, BY_SCOPE), name="given")
    with op.batch_alter_table("namespaces", recreate=recreation()) as batch:
        batch.drop_column("visibility")
    op.drop_table("visibility_epochs")
    drop_append_only("stand_ins")
    drop_append_only("grants")
    drop_functions("grants_ended_rules", "stand_ins_named_rules")


def recreation() -> Literal["always", "never"]:
    """Say whether a table is made anew: SQLite writes a new column where it would not stand."""
    return "always" if op.get_bind().dialect.name == "sqlite" else "never"


def keep_default(batch: BatchOperations) -> None:
    """Spell the default of a text as it was: SQLite gives it back in brackets."""
    batch.alter_column("note", existing_type=sa.Text(), existing_nullable=False, server_default="")


def unguard_approvals() -> None:
    """Take the rules away that say which approvals count, for others to come in their place."""
    drop_triggers("approvals", "given")
    drop_functions("approvals_given_rules")


def guard_reviews(rule: TriggerRule) -> None:
    """Put a rule in the place of the one that says who may review."""
    drop_triggers("reviews", "given")
    drop_functions("reviews_given_rules")
    refuse("reviews", "INSERT", (rule,), name="given")


def create_grants() -> None:
    op.create_table(
        "grants",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("principal_id", ROW_ID, nullable=False),
        sa.Column("namespace_id", ROW_ID),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("pattern", sa.Text(), server_default="", nullable=False),
        sa.Column("is_legacy", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", ROW_ID),
        sa.Column("ended_at", sa.BigInteger()),
        sa.Column("ended_by", ROW_ID),
        sa.CheckConstraint("pattern = '' OR namespace_id IS NOT NULL", name=op.f("ck_grants_pattern")),
        sa.CheckConstraint(f"role IN ({NAMES})", name=op.f("ck_grants_role")),
        sa.ForeignKeyConstraint(["created_by"], ["principals.id"], name="fk_grants_created_by"),
        sa.ForeignKeyConstraint(["ended_by"], ["principals.id"], name="fk_grants_ended_by"),
        sa.ForeignKeyConstraint(["namespace_id"], ["namespaces.id"], name="fk_grants_namespace_id"),
        sa.ForeignKeyConstraint(["principal_id"], ["principals.id"], name="fk_grants_principal_id"),
        sa.PrimaryKeyConstraint("id", name="pk_grants"),
    )
    op.create_index(
        "uq_grants_everywhere",
        "grants",
        ["principal_id", "role"],
        unique=True,
        sqlite_where=LIVE_EVERYWHERE,
        postgresql_where=LIVE_EVERYWHERE,
    )
    op.create_index(
        "uq_grants_within",
        "grants",
        ["principal_id", "namespace_id", "role", "pattern"],
        unique=True,
        sqlite_where=LIVE_WITHIN,
        postgresql_where=LIVE_WITHIN,
    )
    op.create_index("ix_grants_namespace_id", "grants", ["namespace_id"])
    op.create_index("ix_grants_principal_id", "grants", ["principal_id"])


def create_stand_ins() -> None:
    op.create_table(
        "stand_ins",
        sa.Column("principal_id", ROW_ID, nullable=False),
        sa.Column("person_id", ROW_ID, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["principals.id"], name="fk_stand_ins_person_id"),
        sa.ForeignKeyConstraint(["principal_id"], ["principals.id"], name="fk_stand_ins_principal_id"),
        sa.PrimaryKeyConstraint("principal_id", name="pk_stand_ins"),
    )


def create_epochs() -> None:
    op.create_table(
        "visibility_epochs",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_visibility_epochs"),
    )
    op.execute("INSERT INTO visibility_epochs (id, number) VALUES (1, 1)")


def give_what_was_held() -> None:
    """Give owners and legacy grants, and say who stands behind scripts, by who made what."""
    conn = op.get_bind()
    tokens = sa.table(
        "tokens",
        sa.column("id"),
        sa.column("principal_id"),
        sa.column("created_by"),
        sa.column("scopes", sa.JSON()),
        sa.column("revoked_at"),
        sa.column("expires_at"),
    )
    namespaces = sa.table("namespaces", sa.column("id"), sa.column("created_by"))
    principals = sa.table("principals", sa.column("id"), sa.column("kind"))
    grants = sa.table(
        "grants",
        sa.column("principal_id"),
        sa.column("namespace_id"),
        sa.column("role"),
        sa.column("is_legacy", sa.Boolean()),
        sa.column("created_at"),
    )
    at = _now(conn)
    is_live = sa.and_(tokens.c.revoked_at.is_(None), sa.or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > at))
    held: dict[tuple[int, str], None] = {}
    for row in conn.execute(sa.select(tokens.c.principal_id, tokens.c.scopes).where(is_live)):
        for scope in row.scopes:
            if scope in ROLES:
                held[row.principal_id, ROLES[scope]] = None
    given: list[tuple[int, int | None, str]] = [(who, None, role) for who, role in held]
    makers = sa.select(namespaces.c.id, namespaces.c.created_by).where(namespaces.c.created_by.is_not(None))
    given += [(row.created_by, row.id, "owner") for row in conn.execute(makers)]
    rows: list[dict[str, object]] = [
        {"principal_id": who, "namespace_id": where, "role": role, "is_legacy": True, "created_at": at}
        for who, where, role in given
    ]
    if rows:
        conn.execute(sa.insert(grants), rows)
    _name_people(conn, tokens, principals, at)


def _name_people(conn: sa.Connection, tokens: sa.TableClause, principals: sa.TableClause, at: int) -> None:
    """Behind a script's or a worker's name stands who made its first token, if a person did."""
    stand_ins = sa.table("stand_ins", sa.column("principal_id"), sa.column("person_id"), sa.column("created_at"))
    kinds = {row.id: row.kind for row in conn.execute(sa.select(principals))}
    first: dict[int, int | None] = {}
    columns = (tokens.c.principal_id, tokens.c.created_by)
    for row in conn.execute(sa.select(*columns).order_by(tokens.c.id)):
        first.setdefault(row.principal_id, row.created_by)
    found = [
        {"principal_id": who, "person_id": maker, "created_at": at}
        for who, maker in first.items()
        if maker is not None and maker != who and kinds[who] != "user" and kinds[maker] == "user"
    ]
    if found:
        conn.execute(sa.insert(stand_ins), found)


def _now(conn: sa.Connection) -> int:
    clock = {
        "sqlite": "SELECT CAST(strftime('%s', 'now') AS INTEGER) * 1000000",
        "postgresql": "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
    }[conn.dialect.name]
    return int(conn.exec_driver_sql(clock).scalar_one())
