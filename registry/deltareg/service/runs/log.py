"""The log of a run: what its worker reports while it works, bounded, plain text only.

Text fills it long before checks do: a check that failed is evidence (`runs.cut_short`), and text must not push
it out.

Log lines may contain a tenant's bytes. They are cut, and every character that a terminal might act
on becomes a space.
"""

import json
from collections.abc import Callable, Iterator, Sequence

import sqlalchemy as sa

from deltareg.db.runs import run_log as queries
from deltareg.db.runs import runs as run_queries
from deltareg.db.runs.rows import LogLineRow
from deltareg.db.session import glance, read, with_retry
from deltareg.errors import DeltaregError
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, SHARED
from deltareg.service.clock import rfc3339, rfc3339_or_none
from deltareg.service.registry import Caller, Registry
from deltareg.service.runs.cut_short import keep_late
from deltareg.service.runs.info import concern_of, describe_run, find_run
from deltareg.service.runs.lost_lease import lease_lost
from deltareg.service.runs.unnamed import make_redactor
from deltareg.wire import Answer, CheckResult, LineSent, LogAppend, LogLine, RunLog

LOG_BYTES_MAX = 1 << 20
_ALL_BYTES_MAX = 2 * LOG_BYTES_MAX  # with checks, which are kept in a full log too
_LINES = 200
_TEXT_CHARACTERS = 1_000
_NAME_CHARACTERS = 100
_FULL = "the log is full, of what follows checks alone are kept"


class _StoredLine(Answer):
    """A log line as a row stores it, by any release."""

    text: str = ""
    check: CheckResult | None = None
    plan: tuple[str, ...] = ()


def append_log(registry: Registry, caller: Caller, run_id: str, request: LogAppend) -> None:
    """Append log lines of a run that the caller holds; the same lines again change nothing.

    Raises:
        LeaseLost: The run was given to another worker, was cancelled or has ended: stop.
    """
    caller.require(Right.VERIFY, on=EVERYTHING)
    own = run_queries.RunClaim(run_id, request.fence, caller.principal_id)

    def transaction(conn: sa.Connection) -> DeltaregError | None:
        run = run_queries.held_run(conn, own, lock=True)
        if run is None:
            keep_late(conn, own, _checks_of(conn, run_id, request))
            return lease_lost(conn, own)  # and not raised: what was found is kept
        last = queries.last_line(conn, run_id)
        known_until = last.number + 1 if last is not None and last.fence == request.fence else 0
        new = request.lines[max(0, known_until - request.first) :]
        number = max(known_until, request.first)
        lines = list(_number_lines(new, last, number=number, unnamed=make_redactor(conn, run)))
        queries.append_lines(conn, run_id, request.fence, lines)
        return None

    refusal = with_retry(registry.engine, transaction)
    if refusal is not None:
        raise refusal


def read_log(registry: Registry, caller: Caller, run_id: str, *, after: int) -> RunLog:
    """Show a run and its log after a given line number, a page at a time.

    Raises:
        NotFound: There is no such run.
    """
    caller.require(Right.READ, on=SHARED)
    with read(registry.engine) as conn:
        row = find_run(conn, caller, run_id)
        caller.require(Right.READ, on=concern_of(row))
        run = describe_run(conn, row)
        rows = queries.lines_after(conn, run_id, after, limit=_LINES)
        dropped_at = queries.dropped_at(conn, run_id)
    return RunLog(
        run=run,
        items=[_show(row) for row in rows],
        next_seq=rows[-1].seq if rows else after,
        dropped_at=rfc3339_or_none(dropped_at),
    )


def newest_lines(registry: Registry, run_ids: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Return the newest line number and the state of runs, for those who wait for news.

    It checks no rights: whoever hears of news reads it with their own.
    """
    if not run_ids:
        return {}
    with glance(registry.engine) as conn:
        return queries.heads(conn, run_ids)


def _number_lines(
    lines: Sequence[LineSent], last: LogLineRow | None, *, number: int, unnamed: Callable[[str], str]
) -> Iterator[queries.AppendedLine]:
    """Number lines, up to the one that fills the log."""
    seq, total = (0, 0) if last is None else (last.seq, last.total_bytes)
    for index, line in enumerate(lines):
        is_full = total >= LOG_BYTES_MAX
        if total >= _ALL_BYTES_MAX or (is_full and line.check is None):
            continue
        plain = _plain_line(line, unnamed)
        total += len(json.dumps(plain))
        fills = total >= LOG_BYTES_MAX and not is_full
        if line.check is not None or not fills:
            seq += 1
            yield queries.AppendedLine(seq, number + index, total, plain)
        if fills:
            seq += 1
            yield queries.AppendedLine(seq, number + index, total, {"text": _FULL})


def _checks_of(conn: sa.Connection, run_id: str, request: LogAppend) -> list[CheckResult]:
    """Return the checks that lines report, as a log would store them."""
    run = run_queries.run_row(conn, run_id)
    if run is None:
        return []
    unnamed = make_redactor(conn, run)
    plain = (_plain_line(line, unnamed) for line in request.lines if line.check is not None)
    return [CheckResult.model_validate(line["check"]) for line in plain]


def _plain_line(line: LineSent, unnamed: Callable[[str], str]) -> dict[str, object]:
    if line.plan:
        return {"plan": [_plain(name[:_NAME_CHARACTERS]) for name in line.plan]}
    if line.check is None:
        return {"text": _plain(unnamed(line.text))}
    check = line.check.model_dump()
    check["detail"] = unnamed(line.check.detail)
    return {"check": {key: _plain(value) for key, value in check.items()}}


def _plain(value: object) -> object:
    if not isinstance(value, str):
        return value
    return "".join(c if c.isprintable() else " " for c in value[:_TEXT_CHARACTERS])


def _show(row: LogLineRow) -> LogLine:
    stored_line = _StoredLine.model_validate(row.line)
    return LogLine(
        seq=row.seq,
        at=rfc3339(row.created_at),
        attempt=row.fence,
        text=stored_line.text,
        check=stored_line.check,
        plan=list(stored_line.plan),
    )
