"""What all tables share: the metadata, with its naming of constraints, and common columns."""

import sqlalchemy as sa

from deltareg.db.sql.clock import now_us

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts rows by itself only for a column that is spelled INTEGER PRIMARY KEY.
RowId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
# None is NULL, not the JSON text null.
Json = sa.JSON(none_as_null=True)


def row_id() -> sa.Column[int]:
    """An auto-incremented primary key `id`."""
    return sa.Column("id", RowId, primary_key=True)


def uuid_id() -> sa.Column[str]:
    """A primary key `id` that the caller chooses: a UUID as text."""
    return sa.Column("id", sa.Text, primary_key=True)


def text(name: str) -> sa.Column[str]:
    """A text column that is never null."""
    return sa.Column(name, sa.Text, nullable=False)


def count(name: str, *, default: int | None = None) -> sa.Column[int]:
    """An integer column that is never null: bytes, numbers, counters."""
    server_default = None if default is None else sa.text(str(default))
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=server_default)


def time(name: str) -> sa.Column[int | None]:
    """A time in µs since the epoch; NULL until it comes."""
    return sa.Column(name, sa.BigInteger)


def created_at() -> sa.Column[int]:
    """When the row was inserted, by the database's clock unless the caller sets it."""
    return sa.Column("created_at", sa.BigInteger, nullable=False, default=now_us())


def required_row(name: str, target: str, *, ondelete: str | None = None) -> sa.Column[int]:
    """A column that always refers to a row of `target` (`table.column`)."""
    return sa.Column(name, RowId, sa.ForeignKey(target, ondelete=ondelete), nullable=False)


def optional_row(name: str, target: str) -> sa.Column[int | None]:
    """A column that may refer to a row of `target` (`table.column`)."""
    return sa.Column(name, RowId, sa.ForeignKey(target))


def member(name: str, target: str, *, ondelete: str | None = None) -> sa.Column[int]:
    """A part of the primary key that refers to a row of `target` (`table.column`)."""
    return sa.Column(name, RowId, sa.ForeignKey(target, ondelete=ondelete), primary_key=True)


def created_by() -> sa.Column[int | None]:
    """The principal that created the row; NULL if the registry itself did."""
    return optional_row("created_by", "principals.id")


def one_of(name: str, *values: str) -> sa.CheckConstraint:
    """The check that a text column holds one of some values, a list of `deltareg.words`."""
    literals = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{name} IN ({literals})", name=name)
