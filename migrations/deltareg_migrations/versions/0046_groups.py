"""Groups hold roles for their members, and roles of one's own are sets of rights.

On the way down each member gets what its groups hold, and instead of a role of one's own those
built-in ones that give its rights. Break-glass and the right to give roles do not survive that: no
role of the release before gives as little. The groups themselves stay as disabled services.
"""

from collections.abc import Callable, Mapping

import sqlalchemy as sa
from alembic import op

from deltareg_migrations.triggers import TriggerRule, drop_functions, drop_triggers, refuse

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KINDS_BEFORE = ("user", "service", "worker")
KINDS = (*KINDS_BEFORE, "group")
ROLES = (
    "reader",
    "pusher",
    "promoter",
    "approver",
    "server",
    "maintainer",
    "owner",
    "break-glass",
    "verifier",
    "admin",
)
ROLE_OF = {"read": "reader", "push": "pusher", "promote": "promoter", "approve": "approver", "serve": "server"}
LIVE_EVERYWHERE = sa.text("ended_at IS NULL AND namespace_id IS NULL")
LIVE_WITHIN = sa.text("ended_at IS NULL AND namespace_id IS NOT NULL")

# An approval comes of a role that approves: of a group's as of one's own, of any that gives the right.
APPROVERS = "g.role IN ('admin', 'owner', 'maintainer', 'approver')"
HOLDER = "g.principal_id = NEW.principal_id"
OF_GROUPS = "g.principal_id IN (SELECT m.group_id FROM group_members AS m WHERE m.member_id = NEW.principal_id)"
OWN_APPROVERS = "EXISTS (SELECT 1 FROM roles AS o WHERE o.id = g.role_id AND '+' || o.rights || '+' LIKE '%+approve+%')"
REWORDED = {
    HOLDER: f"({HOLDER} OR {OF_GROUPS})",
    APPROVERS: f"((g.role_id IS NULL AND {APPROVERS}) OR {OWN_APPROVERS})",
}
GRANT_RULES = (
    TriggerRule("a grant ends, and does not change otherwise", "COALESCE(OLD.role_id, 0) <> COALESCE(NEW.role_id, 0)"),
)
ROLE_RULES = (
    TriggerRule(
        "a role keeps its name and its place, and does not come back",
        """OLD.id <> NEW.id OR OLD.name <> NEW.name
            OR COALESCE(OLD.namespace_id, 0) <> COALESCE(NEW.namespace_id, 0)
            OR OLD.ended_at IS NOT NULL""",
    ),
)
TOKEN_RULES = (
    TriggerRule(
        "a group has no tokens",
        "EXISTS (SELECT 1 FROM principals AS p WHERE p.id = NEW.principal_id AND p.kind = 'group')",
    ),
)
MEMBER_RULES = (
    TriggerRule(
        "people and services are in groups",
        """EXISTS (SELECT 1 FROM principals AS p
            WHERE p.id = NEW.member_id AND p.kind NOT IN ('user', 'service'))""",
    ),
)


def upgrade() -> None:
    create_roles()
    change("principals", KINDS, is_up=True)
    create_groups()
    change("grants", ROLES, is_up=True)
    reword("approvals_given", REWORDED)
    refuse("grants", "UPDATE", GRANT_RULES, name="kept")
    refuse("roles", "UPDATE", ROLE_RULES, name="kept")
    refuse("tokens", "INSERT", TOKEN_RULES, name="holder")
    refuse("group_members", "INSERT", MEMBER_RULES, name="kind")


def downgrade() -> None:
    drop_triggers("grants", "kept")
    drop_triggers("tokens", "holder")
    give_what_groups_hold()
    reword("approvals_given", {after: before for before, after in REWORDED.items()})
    change("grants", ROLES, is_up=False)
    op.drop_table("group_members")
    op.drop_table("groups")
    op.drop_table("roles")
    principals = sa.table("principals", *map(sa.column, ("kind", "disabled_at")))
    is_group = principals.c.kind == "group"
    op.execute(sa.update(principals).where(is_group).values(kind="service", disabled_at=_now(op.get_bind())))
    change("principals", KINDS_BEFORE, is_up=False)
    drop_functions("grants_kept_rules", "roles_kept_rules", "tokens_holder_rules", "group_members_kind_rules")


def create_roles() -> None:
    op.create_table(
        "roles",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("namespace_id", ROW_ID),
        sa.Column("rights", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", ROW_ID),
        sa.Column("ended_at", sa.BigInteger()),
        sa.ForeignKeyConstraint(["namespace_id"], ["namespaces.id"], name="fk_roles_namespace_id"),
        sa.ForeignKeyConstraint(["created_by"], ["principals.id"], name="fk_roles_created_by"),
        sa.PrimaryKeyConstraint("id", name="pk_roles"),
    )
    for name, columns, where in (
        ("uq_roles_everywhere", ["name"], LIVE_EVERYWHERE),
        ("uq_roles_within", ["name", "namespace_id"], LIVE_WITHIN),
    ):
        op.create_index(name, "roles", columns, unique=True, sqlite_where=where, postgresql_where=where)


def create_groups() -> None:
    op.create_table(
        "groups",
        sa.Column("group_id", ROW_ID, nullable=False),
        sa.Column("source", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", ROW_ID),
        sa.ForeignKeyConstraint(["group_id"], ["principals.id"], name="fk_groups_group_id"),
        sa.ForeignKeyConstraint(["created_by"], ["principals.id"], name="fk_groups_created_by"),
        sa.PrimaryKeyConstraint("group_id", name="pk_groups"),
    )
    op.create_table(
        "group_members",
        sa.Column("group_id", ROW_ID, nullable=False),
        sa.Column("member_id", ROW_ID, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", ROW_ID),
        sa.ForeignKeyConstraint(["group_id"], ["groups.group_id"], name="fk_group_members_group_id"),
        sa.ForeignKeyConstraint(["member_id"], ["principals.id"], name="fk_group_members_member_id"),
        sa.ForeignKeyConstraint(["created_by"], ["principals.id"], name="fk_group_members_created_by"),
        sa.PrimaryKeyConstraint("group_id", "member_id", name="pk_group_members"),
    )
    op.create_index("ix_group_members_member_id_group_id", "group_members", ["member_id", "group_id"])


def change(table: str, words: tuple[str, ...], *, is_up: bool) -> None:
    """Let principals be of these kinds, or grants of a role of one's own beside these."""
    listed = ", ".join(f"'{word}'" for word in words)
    column = "kind" if table == "principals" else "role"
    check, is_of_grants = op.f(f"ck_{table}_{column}"), table == "grants"
    put_back = take_away(table)
    with op.batch_alter_table(table, recreate="always" if _is_sqlite() else "never") as batch:
        if is_of_grants and _is_sqlite():  # spelled as it was: it gives the default of a text back in brackets
            batch.alter_column("pattern", existing_type=sa.Text(), existing_nullable=False, server_default="")
        batch.drop_constraint(check, type_="check")
        if is_of_grants and is_up:
            batch.add_column(sa.Column("role_id", ROW_ID))
            batch.create_foreign_key("fk_grants_role_id", "roles", ["role_id"], ["id"])
        if is_of_grants and not is_up:
            batch.drop_constraint("fk_grants_role_id", type_="foreignkey")
            batch.drop_column("role_id")
        own = "role_id IS NOT NULL OR " if is_of_grants and is_up else ""
        batch.create_check_constraint(check, f"{own}{column} IN ({listed})")
    put_back()


def take_away(table: str) -> Callable[[], None]:
    """Drop the triggers and indexes that SQLite trips over, or loses, when it writes a table anew.

    What is returned makes them again, word for word.
    """
    if not _is_sqlite():
        return lambda: None
    schema = sa.table("sqlite_master", *map(sa.column, ("type", "name", "tbl_name", "sql")))
    query = sa.select(schema.c.type, schema.c.name, schema.c.sql).where(
        sa.or_(
            sa.and_(schema.c.type == "trigger", sa.or_(schema.c.tbl_name == table, schema.c.sql.contains(table))),
            sa.and_(schema.c.type == "index", schema.c.tbl_name == table, schema.c.sql.is_not(None)),
        )
    )
    taken = [(str(kind), str(name), str(sql)) for kind, name, sql in op.get_bind().execute(query)]
    for kind, name, _ in taken:
        op.execute(sa.text(f"DROP {kind} {name}"))

    def put_back() -> None:
        for _, _, sql in taken:
            op.get_bind().exec_driver_sql(sql)

    return put_back


def reword(trigger: str, phrases: Mapping[str, str]) -> None:
    """Replace phrases of a trigger's rules, and leave its other rules as they are.

    Raises:
        RuntimeError: A phrase is not in it.
    """
    conn = op.get_bind()
    where = "name" if _is_sqlite() else "proname"
    column, table = ("sql", "sqlite_master") if _is_sqlite() else ("prosrc", "pg_proc")
    name = trigger if _is_sqlite() else f"{trigger}_rules"
    schema = sa.table(table, sa.column(column), sa.column(where))
    body = str(conn.execute(sa.select(schema.c[column]).where(schema.c[where] == name)).scalar_one())
    for before, after in phrases.items():
        if before not in body:
            raise RuntimeError(f"the trigger {trigger} does not say {before}")
        body = body.replace(before, after)
    if _is_sqlite():
        op.execute(sa.text(f"DROP TRIGGER {trigger}"))
        conn.exec_driver_sql(body)
        return
    create = f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $${body}$$"
    conn.exec_driver_sql(create.replace("%", "%%"))


def give_what_groups_hold() -> None:
    """Give each member what its groups hold, in roles that the release before knows."""
    conn = op.get_bind()
    columns = ("id", "principal_id", "namespace_id", "role", "pattern", "role_id", "created_at", "created_by")
    grants = sa.table("grants", *map(sa.column, (*columns, "ended_at", "is_legacy")))
    roles = sa.table("roles", *map(sa.column, ("id", "rights")))
    members = sa.table("group_members", *map(sa.column, ("group_id", "member_id")))
    rights = {row.id: row.rights.split("+") for row in conn.execute(sa.select(roles))}
    people: dict[int, list[int]] = {}
    for group, who in conn.execute(sa.select(members.c.group_id, members.c.member_id)):
        people.setdefault(group, []).append(who)
    live = conn.execute(sa.select(grants).where(grants.c.ended_at.is_(None))).all()
    held = {(row.principal_id, row.namespace_id, row.role, row.pattern) for row in live if row.role_id is None}
    for row in live:
        is_own = row.role_id is not None
        names = [ROLE_OF[right] for right in rights[row.role_id] if right in ROLE_OF] if is_own else [row.role]
        holders = people.get(row.principal_id, []) + ([row.principal_id] if is_own else [])
        for key in [(who, row.namespace_id, name, row.pattern) for who in holders for name in names]:
            if key not in held:
                held.add(key)
                place = dict(zip(("principal_id", "namespace_id", "role", "pattern"), key, strict=True))
                made = {"created_at": row.created_at, "created_by": row.created_by, "is_legacy": False}
                conn.execute(sa.insert(grants).values(place | made))
    _forget_own_roles(conn, grants)


def _forget_own_roles(conn: sa.Connection, grants: sa.TableClause) -> None:
    """Delete the grants of roles of one's own, which the release before could not read."""
    guard = "grants_no_delete" if _is_sqlite() else "grants_no_change"
    if _is_sqlite():
        schema = sa.table("sqlite_master", sa.column("name"), sa.column("sql"))
        sql = str(conn.execute(sa.select(schema.c.sql).where(schema.c.name == guard)).scalar_one())
        op.execute(sa.text(f"DROP TRIGGER {guard}"))
        conn.execute(sa.delete(grants).where(grants.c.role_id.is_not(None)))
        conn.exec_driver_sql(sql)
        return
    op.execute(sa.text(f"ALTER TABLE grants DISABLE TRIGGER {guard}"))
    conn.execute(sa.delete(grants).where(grants.c.role_id.is_not(None)))
    op.execute(sa.text(f"ALTER TABLE grants ENABLE TRIGGER {guard}"))


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _now(conn: sa.Connection) -> int:
    clock = {
        "sqlite": "SELECT CAST(strftime('%s', 'now') AS INTEGER) * 1000000",
        "postgresql": "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
    }[conn.dialect.name]
    return int(conn.exec_driver_sql(clock).scalar_one())
