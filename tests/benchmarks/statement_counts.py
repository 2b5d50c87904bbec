"""How many statements a database is asked, and what they read: counts, which no load changes.

PostgreSQL says of each statement how many rows it took from tables and indexes; SQLite how many
thousand steps its machine made, as it counts no rows.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import sqlalchemy as sa

_COUNTED = re.compile(r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE)\b", re.IGNORECASE)
_READING = re.compile(r"\s*(SELECT|WITH)\b(?!.*\bFOR (?:UPDATE|SHARE|NO KEY))", re.IGNORECASE | re.DOTALL)
_STEPS = 1_000


@dataclass
class StatementCounts:
    """What was asked while it was open.

    Attributes:
        statements: Their texts with their parameters.
        steps: Thousands of steps of SQLite's machine.
    """

    statements: list[tuple[str, Any]] = field(default_factory=list)
    steps: int = 0


class StatementCounter:
    """Counts what the connections of an engine are asked from now on."""

    def __init__(self, engine: sa.Engine):
        self._engine, self._counts = engine, StatementCounts()
        sa.event.listen(engine, "connect", self._watch)
        engine.dispose()  # those that are open are not watched

    @contextmanager
    def counting(self) -> Iterator[StatementCounts]:
        """Count what is asked within the block, by whichever thread."""
        self._counts = StatementCounts()
        yield self._counts
        self._counts = StatementCounts()

    def rows_read(self, counts: StatementCounts) -> int:
        """Return how many rows the statements took from tables and indexes; of SQLite, thousands of steps."""
        if self._engine.dialect.name == "sqlite":
            return counts.steps
        with self._engine.connect() as conn:
            opened: Any = conn.connection.driver_connection
            with psycopg.ClientCursor(opened) as cursor:
                reading = [one for one in counts.statements if _READING.match(one[0])]
                return sum(_rows_of(cursor, *one) for one in reading)

    def _watch(self, connection: Any, _record: object) -> None:
        if self._engine.dialect.name == "sqlite":
            connection.set_trace_callback(lambda text: self._note(text, None))
            connection.set_progress_handler(self._step, _STEPS)
            return
        note = self._note

        class Counting(psycopg.Cursor[Any]):
            def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
                note(str(query), params)
                return super().execute(query, params, **options)

        connection.cursor_factory = Counting

    def _note(self, text: str, params: Any) -> None:
        if _COUNTED.match(text):
            self._counts.statements.append((text, params))

    def _step(self) -> None:
        self._counts.steps += 1


def _rows_of(cursor: psycopg.ClientCursor[Any], text: str, params: Any) -> int:
    cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {text}", params)
    row = cursor.fetchone()
    plan = row[0] if row else []
    parsed = json.loads(plan) if isinstance(plan, str) else plan
    return round(_rows_in(parsed[0]["Plan"]))


def _rows_in(node: dict[str, Any]) -> float:
    """Add up the rows that the scans of a plan gave, and those that they read in vain."""
    own = 0.0
    if ("Scan" in node["Node Type"] and "Relation Name" in node) or node["Node Type"] == "Bitmap Index Scan":
        read = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
        own = node.get("Actual Loops", 1) * sum(node.get(name, 0) for name in read)
    return own + sum(_rows_in(each) for each in node.get("Plans", []))
