"""Which namespace a row of the audit trail is about, for its owners to read.

Rows that are there are placed by what their subject and action say. What is about no namespace, or
about one that is gone, stays for admins alone.
"""

from collections.abc import Mapping

import sqlalchemy as sa
from alembic import op

from deltareg_migrations.triggers import append_only, drop_append_only

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
PART = 10_000
OF_LINES = ("channel", "line", "version", "evaluation", "signature", "attestation", "request")


def upgrade() -> None:
    op.create_table(
        "audit_places",
        sa.Column("audit_id", ROW_ID, nullable=False),
        sa.Column("namespace_id", ROW_ID, nullable=False),
        sa.ForeignKeyConstraint(["audit_id"], ["audit.id"], name="fk_audit_places_audit_id"),
        sa.ForeignKeyConstraint(["namespace_id"], ["namespaces.id"], name="fk_audit_places_namespace_id"),
        sa.PrimaryKeyConstraint("audit_id", name="pk_audit_places"),
    )
    op.create_index("ix_audit_places_namespace_id_audit_id", "audit_places", ["namespace_id", "audit_id"])
    op.create_index("ix_audit_created_at", "audit", ["created_at"])
    _place_rows(op.get_bind())
    append_only("audit_places")


def downgrade() -> None:
    drop_append_only("audit_places")
    op.drop_index("ix_audit_created_at", table_name="audit")


def _place_rows(connection: sa.Connection) -> None:
    audit = sa.table("audit", *map(sa.column, ("id", "action", "subject")))
    places = sa.table("audit_places", *map(sa.column, ("audit_id", "namespace_id")))
    names = _namespaces(connection)
    last = 0
    while True:
        query = sa.select(audit).where(audit.c.id > last).order_by(audit.c.id).limit(PART)
        rows = connection.execute(query).all()
        if not rows:
            return
        ids = [row.subject.partition("/")[2] for row in rows if row.subject.startswith(("run/", "verdict/"))]
        by_id = _namespaces_of(connection, ids)
        found = {row.id: _namespace_id(row.action, row.subject, names, by_id) for row in rows}
        values = [{"audit_id": row, "namespace_id": place} for row, place in found.items() if place is not None]
        if values:
            connection.execute(sa.insert(places), values)
        last = rows[-1].id


def _namespace_id(action: str, subject: str, names: Mapping[str, int], by_id: Mapping[str, int]) -> int | None:
    kind = action.partition(".")[0]
    first, *rest = subject.split("/")
    if kind in OF_LINES and rest:
        return names.get(first)
    if kind in {"namespace", "member", "floor"} and first in {"namespace", "member"} and rest:
        return names.get(rest[0])
    if kind == "base" and first == "base" and len(rest) > 1:
        return names.get(rest[0])
    return by_id.get(subject) if first in {"run", "verdict"} else None


def _namespaces(connection: sa.Connection) -> dict[str, int]:
    """Return namespaces by name; a former name leads to one where nobody has it now."""
    namespaces = sa.table("namespaces", *map(sa.column, ("id", "name")))
    aliases = sa.table("namespace_aliases", *map(sa.column, ("name", "namespace_id")))
    former = {row.name: row.namespace_id for row in connection.execute(sa.select(aliases))}
    return former | {row.name: row.id for row in connection.execute(sa.select(namespaces))}


def _namespaces_of(connection: sa.Connection, ids: list[str]) -> dict[str, int]:
    """Return the namespaces of runs and verdicts by subject."""
    versions = sa.table("versions", *map(sa.column, ("id", "delta_id")))
    deltas = sa.table("deltas", *map(sa.column, ("id", "namespace_id")))
    found: dict[str, int] = {}
    for kind, name in (("run", "runs"), ("verdict", "verdicts")):
        table = sa.table(name, *map(sa.column, ("id", "version_id")))
        query = (
            sa.select(table.c.id, deltas.c.namespace_id)
            .select_from(table)
            .join(versions, versions.c.id == table.c.version_id)
            .join(deltas, deltas.c.id == versions.c.delta_id)
        )
        for start in range(0, len(ids), 500):
            rows = connection.execute(query.where(table.c.id.in_(ids[start : start + 500])))
            found |= {f"{kind}/{row.id}": row.namespace_id for row in rows}
    return found
