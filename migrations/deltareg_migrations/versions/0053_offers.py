"""Pieces are offered by what has them, and envelopes and checks may be packed.

Rows that are there stay as they are: this release reads both forms and writes the short one, and
`deltareg-migrate pack` writes the others anew. Upkeep offers what a server of the release before
recorded piece by piece; offers have no rows in `pieces` on the way down, and what is stored is
offered again as it is proven. Metrics lose an index: their key begins with the version instead.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from deltareg_migrations.packed import ENVELOPES, rewriting, write_envelope, write_json
from deltareg_migrations.triggers import TriggerRule, drop_functions, drop_triggers, refuse

revision = "0053"
down_revision = "0052"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
BATCH = 1_000
PACKED = {"sqlite": "substr({0}, 1, 1) < X'20'", "postgresql": "get_byte({0}, 0) < 32"}
NAMED = {
    "sqlite": "SELECT n.value FROM json_each(r.verdict_ids) AS n",
    "postgresql": "SELECT n FROM json_array_elements_text(r.verdict_ids) AS n",
}


def upgrade() -> None:
    op.create_table(
        "offers",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("version_id", ROW_ID),
        sa.Column("base_id", ROW_ID),
        sa.CheckConstraint("(version_id IS NULL) <> (base_id IS NULL)", name="subject"),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name="fk_offers_version_id"),
        sa.ForeignKeyConstraint(["base_id"], ["bases.id"], name="fk_offers_base_id"),
        sa.PrimaryKeyConstraint("id", name="pk_offers"),
        sa.UniqueConstraint("version_id", name="uq_offers_version_id"),
        sa.UniqueConstraint("base_id", name="uq_offers_base_id"),
    )
    op.create_table(
        "offer_marks",
        sa.Column("mark", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("offer_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("mark", "offer_id", name="pk_offer_marks"),
        sqlite_with_rowid=False,
    )
    _key_metrics("version_id", "name", "source")
    op.drop_index("ix_version_metrics_version_id", "version_metrics")
    # A server of the release before would sign the digest of what is packed, not of the envelope.
    dialect = op.get_bind().dialect.name
    is_packed, is_new = (PACKED[dialect].format(column) for column in ("e.body", "NEW.body"))
    named = f"SELECT 1 FROM revisions AS r JOIN verdict_envelopes AS e ON e.verdict_id IN ({NAMED[dialect]})"  # noqa: S608
    rule = TriggerRule(
        "a server of the release before does not sign what rests on a packed envelope",
        f"NOT ({is_new}) AND EXISTS ({named} WHERE r.id = NEW.revision_id AND {is_packed})",
    )
    refuse("summaries", "INSERT", (rule,), name="inputs")


def downgrade() -> None:
    drop_triggers("summaries", "inputs")
    drop_functions("summaries_inputs_rules")
    op.create_index("ix_version_metrics_version_id", "version_metrics", ["version_id"])
    _key_metrics("name", "version_id", "source")
    op.drop_table("offer_marks")
    op.drop_table("offers")
    conn = op.get_bind()
    for table, key in ENVELOPES.items():
        with rewriting(conn, table):
            for row_id, (body,) in _pages(conn, table, key, sa.column("body", sa.LargeBinary())):
                _put(conn, table, key, row_id, body=(body, write_envelope(bytes(body))))
    as_text = [sa.cast(sa.column(name), sa.Text()) for name in ("checks", "environment")]
    with rewriting(conn, "verdicts"):
        for row_id, (checks, environment) in _pages(conn, "verdicts", "id", *as_text):
            written = {"checks": (checks, write_json(checks)), "environment": (environment, write_json(environment))}
            _put(conn, "verdicts", "id", row_id, **written)


def _key_metrics(*columns: str) -> None:
    """Give the metrics another primary key of the same columns."""
    if op.get_bind().dialect.name == "sqlite":
        with op.batch_alter_table("version_metrics") as batch:
            batch.drop_constraint("pk_version_metrics", type_="primary")
            batch.create_primary_key("pk_version_metrics", list(columns))
        return
    op.drop_constraint("pk_version_metrics", "version_metrics", type_="primary")
    op.create_primary_key("pk_version_metrics", "version_metrics", list(columns))


def _pages(
    conn: sa.Connection, table: str, key: str, *columns: sa.ColumnElement[Any]
) -> Iterator[tuple[object, Sequence[Any]]]:
    """Go through a table by its key, few rows at a time."""
    at: sa.TableClause = sa.table(table)
    row_id: sa.ColumnClause[Any] = sa.column(key)
    query = sa.select(row_id, *columns).select_from(at).order_by(row_id).limit(BATCH)
    rows = conn.execute(query).all()
    while rows:
        yield from ((row[0], tuple[Any, ...](row[1:])) for row in rows)
        rows = conn.execute(query.where(row_id > rows[-1][0])).all()


def _put(conn: sa.Connection, table: str, key: str, row_id: object, **values: tuple[Any, Any]) -> None:
    """Write the values of a row that are not as they were: pairs of before and after."""
    columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in (key, *values)]
    at = sa.table(table, *columns)
    changed = {name: _as_stored(conn, after) for name, (before, after) in values.items() if after != before}
    if changed:
        conn.execute(sa.update(at).where(at.c[key] == row_id).values(**changed))


def _as_stored(conn: sa.Connection, value: str | bytes) -> object:
    if isinstance(value, str) and conn.dialect.name == "postgresql":
        return sa.cast(sa.literal(value, sa.Text()), sa.JSON())
    return value
