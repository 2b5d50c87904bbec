"""The clock of a database, moved by a test: all rules ask that clock, and the triggers do as well."""

import sqlite3
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa


class MovedClock:
    """Puts the clock of a database forward.

    In SQLite `strftime` of each connection is ours; in PostgreSQL a function `clock_timestamp` stands
    before the system's in the search path.
    """

    def __init__(self, engine: sa.Engine):
        """Take the clock of an engine, whose connections are opened anew."""
        self._ahead = timedelta()
        self._engine = engine
        self._is_sqlite = engine.dialect.name == "sqlite"
        if self._is_sqlite:
            sa.event.listen(engine, "connect", self._place)
        else:
            self._place_in_postgresql()
        engine.dispose()

    def move(self, days: float) -> None:
        """Put the clock forward."""
        self._ahead += timedelta(days=days)
        if not self._is_sqlite:
            with self._engine.connect() as conn:
                conn.exec_driver_sql(f"UPDATE moved.clock SET ahead = interval '{self._ahead.total_seconds()} s'")

    def _place(self, connection: sqlite3.Connection, _record: object) -> None:
        plain = sqlite3.connect(":memory:", check_same_thread=False)

        def strftime(form: str, at: str) -> str:
            moment = (datetime.now(UTC) + self._ahead).strftime("%Y-%m-%d %H:%M:%S.%f") if at == "now" else at
            found: str = plain.execute("SELECT strftime(?, ?)", (form, moment)).fetchone()[0]
            return found

        connection.create_function("strftime", 2, strftime)

    def _place_in_postgresql(self) -> None:
        with self._engine.connect() as conn:
            name = conn.exec_driver_sql("SELECT current_database()").scalar_one()
            for statement in (
                "CREATE SCHEMA moved",
                "CREATE TABLE moved.clock (ahead interval NOT NULL)",
                "INSERT INTO moved.clock VALUES (interval '0')",
                "CREATE FUNCTION moved.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS"
                " 'SELECT pg_catalog.clock_timestamp() + (SELECT ahead FROM moved.clock)'",
                f'ALTER DATABASE "{name}" SET search_path = public, moved, pg_catalog',
            ):
                conn.exec_driver_sql(statement)
