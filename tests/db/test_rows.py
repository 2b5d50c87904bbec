"""Rows of classes: names are held against the query's columns, and a type checker knows them."""

import re
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest
import sqlalchemy as sa

import deltareg
from deltareg import db
from deltareg.db import tables as t
from deltareg.db.lines.deltas import add_namespace, delta_row
from deltareg.db.lines.rows import LineRow
from deltareg.db.session import read, write
from deltareg.db.sql.fetch import fetch_all, fetch_known, fetch_one
from deltareg.db.sql.row_protocols import present
from tests.service import rows as made

ROWS = [
    each
    for module in walk_packages(db.__path__, "deltareg.db.")
    if module.name.endswith("rows")
    for each in vars(import_module(module.name)).values()
    if isinstance(each, type) and is_dataclass(each) and each.__module__ == module.name
]


@dataclass(frozen=True, slots=True)
class NamedRow:
    name: str
    id: int


@dataclass(frozen=True, slots=True)
class NameRow:
    name: str


@pytest.fixture
def namespace(engine):
    caller = made.caller(engine)
    with write(engine) as conn:
        return add_namespace(conn, "team", created_by=caller.principal_id).id


def test_columns_are_found_by_name_in_whatever_order(engine, namespace):
    query = sa.select(t.namespaces.c.id, t.namespaces.c.name)

    with read(engine) as conn:
        found = fetch_all(conn, query, NamedRow)

    assert found == [NamedRow("team", namespace)]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ([t.namespaces.c.name], "does not select id"),
        ([t.namespaces.c.id, t.namespaces.c.name, t.namespaces.c.created_at], "created_at"),
        ([t.namespaces.c.id, t.namespaces.c.name, t.namespaces.c.name.label("id")], "twice id"),
    ],
)
def test_columns_that_are_not_those_of_the_class_are_an_error_even_without_rows(engine, columns, told):
    query = sa.select(*columns).where(sa.false())

    with read(engine) as conn, pytest.raises(TypeError, match=f"NamedRow.*{told}"):
        fetch_all(conn, query, NamedRow)


def test_one_column_is_a_row_as_well(engine, namespace):
    with read(engine) as conn:
        found = fetch_one(conn, sa.select(t.namespaces.c.name), NameRow)

    assert found == NameRow("team")


def test_a_row_that_had_to_be_there_is_named(engine):
    query = sa.select(t.namespaces.c.name)

    with read(engine) as conn, pytest.raises(sa.exc.NoResultFound, match="NameRow"):
        fetch_known(conn, query, NameRow)


def test_a_missing_column_is_an_error_of_types(engine):
    made.line(engine, "lora", maker=made.caller(engine))
    with read(engine) as conn:
        line = present(delta_row(conn, "lab", "lora"))

    assert isinstance(line, LineRow)
    with pytest.raises(AttributeError):
        # Strict mypy refuses this line, and would refuse the comment if it did not.
        print(line.no_such_column)  # type: ignore[attr-defined]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.__name__)
def test_rows_are_frozen_and_have_slots_and_no_field_of_any(row):
    assert row.__dataclass_params__.frozen
    assert "__dict__" not in dir(row)
    assert not any("Any" in str(field.type) for field in fields(row))


def test_no_row_of_any_leaves_the_database_package():
    root = Path(deltareg.__file__).parent
    inside = root / "db" / "sql" / "fetch.py"

    found = [
        f"{path.relative_to(root)}: {line.strip()}"
        for path in root.rglob("*.py")
        for line in path.read_text().splitlines()
        if path != inside and re.search(r"\bsa\.Row\b|sqlalchemy\S* import .*\bRow\b", line)
    ]

    assert found == []
