"""Logs of runs: ordered lines, appended by the worker that holds the run and dropped long after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.runs.rows import LogLineRow
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.sql.upsert import insert
from deltareg.db.tables import dropped_logs, run_log, runs

_ENDED = ("done", "dead", "cancelled")


@dataclass(frozen=True, slots=True)
class AppendedLine:
    """A line to append.

    Attributes:
        seq: Its number in the log.
        number: Its number among those of the same lease.
        total_bytes: The size of the log including it.
        line: Its content.
    """

    seq: int
    number: int
    total_bytes: int
    line: Mapping[str, object]


def last_line(conn: sa.Connection, run_id: str) -> LogLineRow | None:
    """Find the newest line of a log."""
    query = sa.select(run_log).where(run_log.c.run_id == run_id)
    return fetch_one(conn, query.order_by(run_log.c.seq.desc()).limit(1), LogLineRow)


def append_lines(conn: sa.Connection, run_id: str, fence: int, lines: Sequence[AppendedLine]) -> None:
    """Append lines; the caller holds the run, so nobody else appends at the same time."""
    values = [
        {
            "run_id": run_id,
            "fence": fence,
            "seq": line.seq,
            "number": line.number,
            "total_bytes": line.total_bytes,
            "line": dict(line.line),
        }
        for line in lines
    ]
    if values:
        conn.execute(sa.insert(run_log), values)


def lines_after(conn: sa.Connection, run_id: str, after: int, *, limit: int) -> Sequence[LogLineRow]:
    """List lines in order, beginning after a number."""
    query = sa.select(run_log).where(run_log.c.run_id == run_id, run_log.c.seq > after)
    return fetch_all(conn, query.order_by(run_log.c.seq).limit(limit), LogLineRow)


def check_lines(conn: sa.Connection, run_id: str, *, before_fence: int | None = None) -> Sequence[LogLineRow]:
    """List the lines that report a check, in order; with a fence those of earlier attempts."""
    query = sa.select(run_log).where(run_log.c.run_id == run_id, run_log.c.line["check"].as_string().is_not(None))
    if before_fence is not None:
        query = query.where(run_log.c.fence < before_fence)
    return fetch_all(conn, query.order_by(run_log.c.seq), LogLineRow)


def heads(conn: sa.Connection, run_ids: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Return the last line number of runs' logs, 0 if there is none, and their states, by run."""
    last = (
        sa.select(sa.func.coalesce(sa.func.max(run_log.c.seq), 0))
        .where(run_log.c.run_id == runs.c.id)
        .correlate(runs)
        .scalar_subquery()
    )
    query = sa.select(runs.c.id, last, runs.c.state).where(runs.c.id.in_(run_ids))
    return {run_id: (seq, state) for run_id, seq, state in conn.execute(query)}


def old_logs(conn: sa.Connection, *, before: int, lines: int) -> list[str]:
    """List the runs, ended before a time, that the `lines` oldest lines of such logs belong to.

    A line is older than the end of its run, so the index of old lines leads to old runs.
    """
    query = (
        sa.select(run_log.c.run_id)
        .join(runs, runs.c.id == run_log.c.run_id)
        .where(_is_old(before))
        .order_by(run_log.c.created_at)
        .limit(lines)
    )
    return list(dict.fromkeys(conn.execute(query).scalars()))


def select_old_logs(before: int | sa.ColumnElement[int]) -> sa.Select[int]:
    """Start a query that counts, as `run_logs`, runs that ended before a time and have a log."""
    return (
        sa.select(sa.func.count(run_log.c.run_id.distinct()).label("run_logs"))
        .select_from(run_log)
        .join(runs, runs.c.id == run_log.c.run_id)
        .where(_is_old(before))
    )


def drop_logs(conn: sa.Connection, run_ids: Sequence[str], *, before: int) -> int:
    """Drop the logs of runs that ended before a time and record when; return how many.

    Runs that another transaction has locked are left to it.
    """
    ended = sa.select(runs.c.id).where(runs.c.id.in_(run_ids), _has_ended(before))
    mine = list(conn.execute(ended.with_for_update(skip_locked=True)).scalars())
    conn.execute(sa.delete(run_log).where(run_log.c.run_id.in_(mine)))
    if not mine:
        return 0
    record = insert(conn, dropped_logs).values([{"run_id": run_id} for run_id in mine])
    new = record.on_conflict_do_nothing().returning(dropped_logs.c.run_id)
    return len(conn.execute(new).all())


def dropped_at(conn: sa.Connection, run_id: str) -> int | None:
    """Return when the log of a run was dropped; None if it was not."""
    query = sa.select(dropped_logs.c.created_at).where(dropped_logs.c.run_id == run_id)
    return conn.execute(query).scalar_one_or_none()


def _is_old(before: int | sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    return sa.and_(run_log.c.created_at < before, _has_ended(before))


def _has_ended(before: int | sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    is_over = sa.or_(*(runs.c.state == state for state in _ENDED))  # no list: it is prepared
    return sa.and_(is_over, runs.c.finished_at < before)
