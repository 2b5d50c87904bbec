"""The end of a run that finds something out for people: its signed result is stored for a time.

The result decides nothing. So if a version was deleted meanwhile, or the question has expired, the
run ends and nothing is stored.
"""

from collections.abc import Callable, Mapping
from typing import Final

import sqlalchemy as sa

from deltareg.db.lines import versions as version_queries
from deltareg.db.runs import run_results
from deltareg.db.runs import runs as queries
from deltareg.db.runs.rows import RunResultRow, RunRow
from deltareg.db.session import with_retry
from deltareg.db.sql.row_protocols import present
from deltareg.errors import InvalidInput
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.registry import Caller, Registry
from deltareg.service.runs.kinds import answer, compare
from deltareg.service.runs.lost_lease import lease_lost
from deltareg.service.runs.runs import describe_run
from deltareg.service.verdicts.signed_work import check_signed
from deltareg.wire import RunInfo
from deltareg.wire.findings import FoundReport

_READ: Final[Mapping[str, Callable[[RunResultRow, str], bytes]]] = {
    answer.WHAT: answer.read_found,
    compare.WHAT: compare.read_found,
}
_GONE = "what it is about was deleted, or is not kept any more"


def complete_found(registry: Registry, caller: Caller, run_id: str, report: FoundReport) -> RunInfo:
    """End a run that finds something out; the same report again gets the same answer.

    Raises:
        LeaseLost: The run is not the caller's (any more); nothing changes.
        BadSignature: The report was not signed under the lease.
        InvalidInput: The run is of another kind, or was asked something else.
    """
    caller.require(Right.VERIFY, on=EVERYTHING)
    own = queries.RunClaim(run_id, report.fence, caller.principal_id)

    def transaction(conn: sa.Connection) -> RunInfo:
        run = queries.held_run(conn, own, lock=True)
        if run is None:
            return _answered_before(conn, caller, own)
        read = _READ.get(run.what)
        if read is None:
            raise InvalidInput(f"run {run_id} is a {run.what}, it finds nothing out")
        keyid = check_signed(conn, run, report, principal_id=caller.principal_id)
        result = run_results.result_row(conn, run_id)
        if result is None or _is_gone(conn, run, result):
            queries.finish(conn, own, state="dead", error=_GONE)
            return describe_run(conn, caller, run_id)
        run_results.keep_found(conn, run_id, read(result, report.found))
        queries.finish(conn, own, state="done", result={"keyid": keyid})
        return describe_run(conn, caller, run_id)

    return with_retry(registry.engine, transaction)


def _is_gone(conn: sa.Connection, run: RunRow, asked: RunResultRow) -> bool:
    ids = [present(run.version_id), *([] if asked.other_id is None else [asked.other_id])]
    versions = version_queries.versions_by_ids(conn, ids).values()
    return any(version.deleted_at is not None for version in versions)


def _answered_before(conn: sa.Connection, caller: Caller, own: queries.RunClaim) -> RunInfo:
    """Return the run if this holder has ended it already: the first answer may have been lost."""
    run = queries.run_row(conn, own.run_id)
    if run is None or run.state != "done" or run.fence != own.fence or run.what not in _READ:
        raise lease_lost(conn, own)
    return describe_run(conn, caller, own.run_id)
