"""Logs of runs: lines in order, appended by the worker that holds the run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.rows import Row
from deltareg.db.tables import run_log


@dataclass(frozen=True, slots=True)
class Line:
    """A line to append.

    Attributes:
        seq: Its number in the log.
        number: Its number among those of the same lease.
        total_bytes: What the log holds with it.
        line: What it says.
    """

    seq: int
    number: int
    total_bytes: int
    line: Mapping[str, object]


def last_line(conn: sa.Connection, run_id: str) -> Row | None:
    """Find the newest line of a log."""
    query = sa.select(run_log).where(run_log.c.run_id == run_id)
    return conn.execute(query.order_by(run_log.c.seq.desc()).limit(1)).one_or_none()


def append_lines(conn: sa.Connection, run_id: str, fence: int, lines: Sequence[Line]) -> None:
    """Append lines; the caller holds the run, so nobody else does at the same time."""
    values = [
        {"run_id": run_id, "fence": fence, "seq": line.seq, "number": line.number,
         "total_bytes": line.total_bytes, "line": dict(line.line)}
        for line in lines
    ]  # fmt: skip
    if values:
        conn.execute(sa.insert(run_log), values)


def lines_after(conn: sa.Connection, run_id: str, after: int, *, limit: int) -> Sequence[Row]:
    """List lines in order, from the one after a number on."""
    query = sa.select(run_log).where(run_log.c.run_id == run_id, run_log.c.seq > after)
    return conn.execute(query.order_by(run_log.c.seq).limit(limit)).all()
