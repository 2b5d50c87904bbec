"""What a verification had found when it was cut short: it stays, where something had failed.

Whoever pushed a version sees its checks as they come. Could they end the run that is about to fail,
and nothing remained, they would try again until it is not. So what the log has of the checks goes
into an inconclusive verdict, which is the newest and which no gate takes for a pass.
"""

import sqlalchemy as sa

from deltareg.db.runs.rows import ShownRunRow
from deltareg.db.runs.run_log import lines_after
from deltareg.service.runs.ends import CANCELLED
from deltareg.service.verdicts.verdicts import record_inconclusive
from deltareg.wire import CheckResult

_MOST_LINES = 10_000


def found_so_far(conn: sa.Connection, run_id: str) -> list[CheckResult]:
    """Return the checks that a run has reported, each as it came last; none where none has failed."""
    checks: dict[str, CheckResult] = {}
    for row in lines_after(conn, run_id, 0, limit=_MOST_LINES):
        if row.line.get("check") is not None:
            check = CheckResult.model_validate(row.line["check"])
            checks[check.name] = check
    return list(checks.values()) if any(check.verdict == "fail" for check in checks.values()) else []


def keep_findings(conn: sa.Connection, run: ShownRunRow, *, by: str, verdict_id: str) -> bool:
    """Record what a cancelled verification had found, in the transaction that cancels it.

    Args:
        conn: The transaction.
        run: The run.
        by: Who cancelled it.
        verdict_id: The id of the verdict.

    Returns:
        Whether there is a verdict.
    """
    checks = found_so_far(conn, run.id)
    if not checks:
        return False
    failed = [check.name for check in checks if check.verdict == "fail"]
    told = f"{', '.join(failed[:3])}{' and others' if len(failed) > 3 else ''} had failed"
    error = f"cancelled by {by} when {told}"
    record_inconclusive(conn, run, error, verdict_id=verdict_id, created_by=None, code=CANCELLED, others=checks)
    return True
