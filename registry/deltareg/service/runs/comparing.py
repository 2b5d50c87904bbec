"""Comparing two versions of one base by a worker: queueing the comparison, and showing it."""

from collections.abc import Callable
from typing import Final
from uuid import UUID, uuid4

import sqlalchemy as sa

from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.runs import run_results
from deltareg.db.session import read, with_retry
from deltareg.db.sql.row_protocols import present
from deltareg.errors import Blocked, InvalidInput
from deltareg.refs import Ref
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import SHARED, SOMEWHERE
from deltareg.service.describe import line_of, ref_of
from deltareg.service.events import Action
from deltareg.service.quotas.holding import refuse_spent
from deltareg.service.quotas.room import explain_room
from deltareg.service.registry import Caller, Registry, namespace_scope
from deltareg.service.resolve import find_version
from deltareg.service.runs import info
from deltareg.service.runs.kinds.compare import WHAT, key_of, queue_compare
from deltareg.service.runs.limits import RunLimit, check_limit_of
from deltareg.service.runs.runs import describe_run, require_queueing
from deltareg.wire import RunInfo
from deltareg.wire.findings import CompareCreate, DifferencesFound, ModuleDifference, VersionDifferences

LIMIT: Final = RunLimit(open=10, hourly=200)


def queue_comparison(
    registry: Registry, caller: Caller, request: CompareCreate, *, new_id: Callable[[], UUID] = uuid4
) -> RunInfo:
    """Queue a comparison, join the one under way, or return the finished one.

    The caller must be allowed to read both versions, and to ask for runs of the second.

    Raises:
        NotFound: There is no such version, or the caller may not see it.
        Blocked: A version is deleted.
        InvalidInput: Both are the same version, or they are for different bases.
        QuotaExceeded: The caller has asked for too many comparisons.
    """
    require_queueing(caller, on=SOMEWHERE)
    refs = caller.current_ref(Ref.parse(request.a)), caller.current_ref(Ref.parse(request.b))
    for ref in refs:
        caller.require(Right.READ, on=ref.line)

    def transaction(conn: sa.Connection) -> RunInfo:
        a, b = (find_version(conn, caller, ref, bare="newest") for ref in refs)
        require_queueing(caller, on=refs[1].line)  # what is not there is not found before
        _check(a, b)
        if not request.again:
            finished = run_results.newest_run(conn, key_of(a, b), version_id=b.id, is_found=True)
            if finished is not None:
                return info.describe_ended(finished)
        new_run_id = str(new_id())
        run_id = queue_compare(conn, caller, a, b, run_id=new_run_id)
        if run_id == new_run_id:
            refuse_spent(conn, namespace_scope(b.namespace), caller.principal_id)
            check_limit_of(conn, caller, WHAT, LIMIT, beside=run_id)
            after = {"version": ref_of(b), "what": WHAT}
            if line_of(a) == line_of(b):  # readers of one line need not see another
                after["other"] = ref_of(a)
            caller.record(conn, Action.RUN_QUEUE, f"run/{run_id}", on=refs[1].line, before=None, after=after)
        return describe_run(conn, caller, run_id)

    with explain_room(registry.engine):
        return with_retry(registry.engine, transaction)


def show_comparison(registry: Registry, caller: Caller, a: Ref, b: Ref) -> VersionDifferences:
    """Show the comparison of two versions, if a worker has made it, and the run under way.

    Raises:
        NotFound: There is no such version, or the caller may not see it.
        Blocked: A version is deleted, so its comparisons are not shown any more.
    """
    caller.require(Right.READ, on=SHARED)  # runs have names of people and machines
    for ref in (a, b):
        caller.require(Right.READ, on=ref.line)
    with read(registry.engine) as conn:
        one, two = (find_version(conn, caller, ref, bare="newest") for ref in (a, b))
        _refuse_deleted(one, two)
        key = key_of(one, two)
        newest = run_results.newest_run(conn, key, version_id=two.id)
        is_over = newest is None or newest.state not in {"queued", "running"}
        waits = None if newest is None or is_over else info.describe_run(conn, newest)
        finished = newest
        if newest is not None and newest.state != "done":
            finished = run_results.newest_run(conn, key, version_id=two.id, is_found=True)
        row = None if finished is None else run_results.result_row(conn, finished.id)
        row = None if row is None or row.found is None else row
        shown_run = newest if row is None else finished
    ended_run = None if shown_run is None else info.describe_ended(shown_run)
    run = waits if shown_run is newest and waits is not None else ended_run
    if row is None or run is None:
        return VersionDifferences(a=ref_of(one), b=ref_of(two), is_known=False, run=run, waits=waits)
    differences = DifferencesFound.model_validate_json(present(row.found))
    return VersionDifferences(
        a=ref_of(one),
        b=ref_of(two),
        is_known=True,
        run=run,
        waits=waits,
        modules=[ModuleDifference.of(each) for each in differences.modules],
        left_out=differences.left_out,
        note=differences.note,
        general=differences.general,
        found_at=run.finished_at,
    )


def _check(a: VersionRow, b: VersionRow) -> None:
    """Refuse versions that cannot be compared."""
    _refuse_deleted(a, b)
    if a.id == b.id:
        raise InvalidInput(f"{ref_of(a)} is compared with itself", fix="name two versions")
    if a.base_root != b.base_root:
        raise InvalidInput(
            f"{ref_of(a)} and {ref_of(b)} are for different bases, so what they do to weights is not compared",
            fix="compare what they do: deltareg diff A B --mode behavior",
        )


def _refuse_deleted(*versions: VersionRow) -> None:
    for version in versions:
        if version.deleted_at is not None:
            raise Blocked(f"{ref_of(version)} is deleted", fix="compare another version")
