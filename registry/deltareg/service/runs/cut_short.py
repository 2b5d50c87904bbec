"""What a verification had found when it was cut short: it stays, where something had failed.

Whoever pushed a version sees its checks as they come. Could they end the run that is about to fail,
and nothing remained, they would try again until it is not. So what the log has of the checks goes
into an inconclusive verdict, which is the newest and which no gate takes for a pass. A check that
failed in one attempt has failed, whatever a later attempt says of it.

A run has one verdict. What an earlier attempt had found, or what a worker reports after the end of
its run, is recorded as a run of its own.
"""

from collections.abc import Callable, Iterable, Sequence
from uuid import UUID, uuid4

import sqlalchemy as sa

from deltareg.db.runs import runs as queries
from deltareg.db.runs.held import ended_run
from deltareg.db.runs.rows import LogLineRow, RunRow
from deltareg.db.runs.run_log import check_lines
from deltareg.db.sql.row_protocols import present
from deltareg.db.verdicts.verdicts import verdicts_of_runs
from deltareg.service.runs.ends import CANCELLED, CUT_SHORT, code_of, result_of_end
from deltareg.service.runs.second_look import SECOND_OF
from deltareg.service.verdicts.verdicts import record_inconclusive
from deltareg.wire import CheckResult

_NAMED = 3
_EARLIER, _LATE = "earlier", "late"
_OF_ONE_RUN = {SECOND_OF, "continues"}


def found_so_far(conn: sa.Connection, run_id: str) -> list[CheckResult]:
    """Return the checks that a run has reported; none where none has failed."""
    return _worst(_read_checks(check_lines(conn, run_id)))


def keep_findings(conn: sa.Connection, run: RunRow, *, why: str, verdict_id: str) -> bool:
    """Record what a verification had found, in the transaction that cancels it.

    Args:
        conn: The transaction.
        run: The run.
        why: Why it ended: `cancelled by ada`.
        verdict_id: The id of the verdict.

    Returns:
        Whether there is a verdict.
    """
    checks = found_so_far(conn, run.id)
    if not checks:
        return False
    error = f"{why} {_describe_failed(checks)}"
    record_inconclusive(conn, run, error, verdict_id=verdict_id, created_by=None, code=CANCELLED, others=checks)
    return True


def keep_findings_of(
    conn: sa.Connection, run_ids: Sequence[str], *, why: str, new_id: Callable[[], UUID] = uuid4
) -> None:
    """Record what some runs had found, in the transaction that cancels them; only verifications find anything."""
    for run_id in run_ids:
        run = queries.run_row(conn, run_id)
        if run is not None and run.what == "verify":
            keep_findings(conn, run, why=why, verdict_id=str(new_id()))


def keep_earlier_attempts(conn: sa.Connection, run: RunRow, *, new_id: Callable[[], UUID]) -> None:
    """Record what earlier attempts of a run had found failed, before a verdict of its last one that did not fail.

    Without it, who makes a worker run out of memory once a check has failed would be asked no more.
    """
    lines = check_lines(conn, run.id, before_fence=run.fence)
    checks = _worst(_read_checks(lines))
    if checks:
        error = f"an earlier attempt ended without a verdict {_describe_failed(checks)}"
        _keep_apart(conn, run, checks, error, key=_EARLIER, at=lines[-1].created_at, new_id=new_id)


def keep_late(
    conn: sa.Connection, own: queries.RunClaim, late: Sequence[CheckResult], *, new_id: Callable[[], UUID] = uuid4
) -> bool:
    """Record what a worker reports to its run that has just ended without it; return whether anything is new.

    A report may be on its way when somebody cancels the run.
    """
    failed = {check.name for check in late if check.verdict == "fail"}
    run = ended_run(conn, own) if failed else None
    if run is None or run.what != "verify":
        return False
    checks = _worst([*_read_checks(check_lines(conn, run.id)), *late])
    why = run.error or "the run had ended"
    verdict = verdicts_of_runs(conn, [run.id]).get(run.id)
    if verdict is None:
        error = f"{why} {_describe_failed(checks)}"
        record_inconclusive(conn, run, error, verdict_id=str(new_id()), created_by=None, code=CANCELLED, others=checks)
        return True
    known = {check["name"] for check in verdict.checks if check["verdict"] == "fail"}
    is_kept = queries.keys_queued(conn, {_key(run, _LATE): present(run.version_id)})
    if failed <= known or is_kept:
        return False
    _keep_apart(conn, run, checks, f"{why} {_describe_failed(checks)}", key=_LATE, new_id=new_id)
    return True


def _keep_apart(
    conn: sa.Connection,
    run: RunRow,
    checks: Sequence[CheckResult],
    error: str,
    *,
    key: str,
    new_id: Callable[[], UUID],
    at: int | None = None,
) -> None:
    """Record findings as an ended run of their own, with an inconclusive verdict."""
    run_id = queries.enqueue(
        conn,
        run_id=str(new_id()),
        what=run.what,
        dedup_key=_key(run, key),
        version_id=run.version_id,
        suite=run.suite,
        labels=run.labels,
        request={name: value for name, value in run.request.items() if name not in _OF_ONE_RUN},
        priority=run.priority,
        created_by=run.created_by,
    )
    why = code_of(run.result) or CUT_SHORT
    apart = present(queries.end_unbegun(conn, run_id, error=error, result=result_of_end(why)))
    verdict_id = str(new_id())
    record_inconclusive(conn, apart, error, verdict_id=verdict_id, created_by=None, code=why, others=checks, at=at)


def _key(run: RunRow, which: str) -> str:
    return f"{which}:{run.id}"


def _read_checks(lines: Sequence[LogLineRow]) -> list[CheckResult]:
    return [CheckResult.model_validate(row.line["check"]) for row in lines]


def _worst(checks: Iterable[CheckResult]) -> list[CheckResult]:
    """Return each check once, as it failed or as it came last; none where none has failed."""
    found: dict[str, CheckResult] = {}
    for check in checks:
        if check.name not in found or found[check.name].verdict != "fail":
            found[check.name] = check
    return list(found.values()) if any(check.verdict == "fail" for check in found.values()) else []


def _describe_failed(checks: Sequence[CheckResult]) -> str:
    failed = [check.name for check in checks if check.verdict == "fail"]
    return f"when {', '.join(failed[:_NAMED])}{' and others' if len(failed) > _NAMED else ''} had failed"
