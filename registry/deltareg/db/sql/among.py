"""Many row ids as one parameter: a prepared statement takes any number of them."""

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
    return f"{column} IN (SELECT CAST(value AS BIGINT) FROM {elements})"  # noqa: S608  (as above)


def write_ids(ids: Iterable[int]) -> str:
    """Format row ids as the one parameter that `among` reads."""
    return json.dumps(sorted(set(ids)))
