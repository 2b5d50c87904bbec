"""The clock that all rules use: the database's, in microseconds since the epoch, UTC.

Workers and API replicas on several hosts disagree about the time; leases and windows must not.
"""

from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from deltareg.db.sql.prepared import PreparedQuery

US_PER_S = 1_000_000


class now_us(GenericFunction[int]):  # noqa: N801  (reads as the SQL function that it is)
    """The database's time now, as an integer; PostgreSQL resolves µs, SQLite ms."""

    type = sa.BigInteger()
    inherit_cache = True
    name = "deltareg_now_us"


@compiles(now_us, "sqlite")
def _now_us_sqlite(_element: now_us, _compiler: SQLCompiler, **_kw: object) -> str:
    # Whole seconds and milliseconds apart: a float of seconds would round. Works since SQLite 3.0.
    return (
        "(CAST(strftime('%s', 'now') AS INTEGER) * 1000000 + CAST(substr(strftime('%f', 'now'), 4) AS INTEGER) * 1000)"
    )


@compiles(now_us, "postgresql")
def _now_us_postgresql(_element: now_us, _compiler: SQLCompiler, **_kw: object) -> str:
    # Not now(): that is the start of the transaction, which may have waited for a lock since.
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"


def read_clock(conn: sa.Connection) -> int:
    """Return the database's time, in microseconds since the epoch."""
    return _NOW.require(conn).now_us


@dataclass(frozen=True, slots=True)
class _ClockRow:
    now_us: int


_NOW: Final = PreparedQuery(sa.select(now_us().label("now_us")), _ClockRow)
