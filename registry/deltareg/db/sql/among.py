"""Many row ids or names as one parameter: a prepared statement takes any number of them."""

import json
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.sql.operators import OperatorType


class among(GenericFunction[bool]):  # noqa: N801  (reads as the SQL function that it is)
    """Whether a row id is among those in a text that `write_ids` wrote."""

    type = sa.Boolean()
    inherit_cache = True
    name = "deltareg_among"

    def self_group(self, against: OperatorType | None = None) -> "among":
        """Return it without parentheses: SQLite would use no index for a condition like `= 1`."""
        return self


@compiles(among, "sqlite")
def _among_sqlite(element: among, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401
    column, ids = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({ids}))"  # noqa: S608  (of parameters)


@compiles(among, "postgresql")
def _among_postgresql(element: among, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401
    column, ids = (compiler.process(clause, **kw) for clause in element.clauses)
    elements = f"json_array_elements_text(CAST({ids} AS JSON))"
    # As an array: of a subquery, it would plan a walk over the whole table.
    return f"{column} = ANY (ARRAY(SELECT CAST(value AS BIGINT) FROM {elements}))"  # noqa: S608  (as above)


class among_found(GenericFunction[bool]):  # noqa: N801  (reads as the SQL function that it is)
    """Whether a row id is among those that a scalar subquery finds: few, whatever the planner expects."""

    type = sa.Boolean()
    inherit_cache = True
    name = "deltareg_among_found"

    def self_group(self, against: OperatorType | None = None) -> "among_found":
        """Return it without parentheses, as `among` does."""
        return self


@compiles(among_found, "sqlite")
def _among_found_sqlite(element: among_found, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401
    column, found = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"{column} IN {found}"


@compiles(among_found, "postgresql")
def _among_found_postgresql(element: among_found, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401
    column, found = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"{column} = ANY (ARRAY{found})"


class all_among(GenericFunction[bool]):  # noqa: N801  (reads as the SQL function that it is)
    """Whether all texts of a JSON array in a column are among those of another one, a parameter."""

    type = sa.Boolean()
    inherit_cache = True
    name = "deltareg_all_among"


@compiles(all_among, "sqlite")
def _all_among_sqlite(element: all_among, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401
    column, names = (compiler.process(clause, **kw) for clause in element.clauses)
    others = f"value NOT IN (SELECT value FROM json_each({names}))"  # noqa: S608  (of parameters)
    return f"NOT EXISTS (SELECT 1 FROM json_each({column}) WHERE {others})"  # noqa: S608


@compiles(all_among, "postgresql")
def _all_among_postgresql(element: all_among, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401
    column, names = (compiler.process(clause, **kw) for clause in element.clauses)
    others = f"json_array_elements_text(CAST({names} AS JSON)) AS o(value)"
    return (
        f"NOT EXISTS (SELECT 1 FROM json_array_elements_text({column}) AS n(value)"  # noqa: S608
        f" WHERE n.value NOT IN (SELECT o.value FROM {others}))"
    )


def write_ids(ids: Iterable[int]) -> str:
    """Format row ids as the one parameter that `among` reads."""
    return json.dumps(sorted(set(ids)))
