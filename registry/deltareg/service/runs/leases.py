"""Leases: a worker claims a run for a while, says that it goes on, and ends it once.

Everything that depends on time goes by the database's clock. A run whose lease has run out is given
to the next worker with a higher fence, which shuts the old one out; a worker that is late but was
not replaced may still finish. After the last attempt a run is dead, and what it was to judge gets
an inconclusive verdict in the same transaction, never a pass.
"""

from collections.abc import Callable, Iterator
from functools import partial
from uuid import UUID, uuid4

import sqlalchemy as sa

from deltareg.db.clock import US_PER_S
from deltareg.db.queries import bases as base_queries
from deltareg.db.queries import runs as queries
from deltareg.db.queries import verdicts as verdict_queries
from deltareg.db.queries import versions as version_queries
from deltareg.db.queries import workers as worker_queries
from deltareg.db.queries.audit import record_audit
from deltareg.db.rows import ClaimableRow, RunRow, VerdictRow, present
from deltareg.db.session import read, with_retry
from deltareg.errors import DeltaregError, Forbidden, InvalidInput, LeaseLost, NotFound
from deltareg.service.describe import describe_base, ref_of
from deltareg.service.labels import ONLY_RUN, fits, is_for_one_run
from deltareg.service.registry import Caller, Registry
from deltareg.service.runs.reverify import queue_reverification
from deltareg.service.verdicts.verdicts import describe_verdict, record_inconclusive, record_verdict
from deltareg.wire import (
    LeaseGrant,
    LeaseHold,
    LeaseRequest,
    RunFailure,
    VerdictInfo,
    VerdictReport,
)

_SEEN_US = 20 * US_PER_S
_NO_ANSWER = "the lease of the last attempt ran out without an answer from its worker"


def claim_lease(
    registry: Registry,
    caller: Caller,
    request: LeaseRequest,
    *,
    lease_s: float,
    new_id: Callable[[], UUID] = uuid4,
) -> LeaseGrant | None:
    """Give the worker the best run that its labels fit, or None when there is none now.

    Nothing is written while there is no work, so workers may ask as often as they like.

    Raises:
        Forbidden: The token does not allow it, or the worker's name is taken.
    """
    caller.require("verify")
    _see_worker(registry, caller, request)
    bury_exhausted(registry, new_id=new_id)
    lease_us = round(lease_s * US_PER_S)
    for run_id in _fitting(registry, request):
        claim = partial(queries.claim, run_id=run_id, holder=request.worker, lease_us=lease_us)
        run = with_retry(registry.engine, claim)
        if run is not None:
            return _grant(registry, run, lease_s=lease_s)
    return None


def hold_lease(registry: Registry, caller: Caller, hold: LeaseHold, *, lease_s: float) -> None:
    """Let a lease run on from now.

    Raises:
        LeaseLost: The run was given to another worker, was cancelled or has ended: stop.
    """
    caller.require("verify")
    own = queries.Hold(hold.run, hold.fence, caller.principal_id)

    def transaction(conn: sa.Connection) -> None:
        if not queries.extend(conn, own, lease_us=round(lease_s * US_PER_S)):
            raise lease_lost(conn, own)

    with_retry(registry.engine, transaction)


def complete_run(
    registry: Registry,
    caller: Caller,
    run_id: str,
    report: VerdictReport,
    *,
    new_id: Callable[[], UUID] = uuid4,
) -> VerdictInfo:
    """End a run with what was found; the same report again gives the same verdict.

    Raises:
        LeaseLost: The run was given to another worker or cancelled; the report does not count.
        InvalidInput: Another suite was run, or the checks do not show the pass that is claimed.
    """
    caller.require("verify")
    verdict_id = str(new_id())
    own = queries.Hold(run_id, report.fence, caller.principal_id)

    def transaction(conn: sa.Connection) -> VerdictInfo:
        run = queries.finish(conn, own, state="done")
        if run is not None and run.what != "verify":
            raise InvalidInput(f"run {run_id} is a {run.what}, it has no verdict")
        if run is None:
            return _answered_before(conn, own)
        record_verdict(conn, run, report, verdict_id=verdict_id, created_by=caller.principal_id)
        after = {"state": "done", "verdict": report.verdict, "verdict_id": verdict_id}
        caller.record(
            conn, "run.complete", f"run/{run_id}", before={"state": "running"}, after=after
        )
        return describe_verdict(_verdict(conn, run_id))

    return with_retry(registry.engine, transaction)


def fail_run(
    registry: Registry,
    caller: Caller,
    run_id: str,
    failure: RunFailure,
    *,
    new_id: Callable[[], UUID] = uuid4,
) -> None:
    """Give a run back that could not be carried out; after the last attempt it is dead.

    Raises:
        LeaseLost: The run was given to another worker, was cancelled or has ended.
    """
    caller.require("verify")
    own = queries.Hold(run_id, failure.fence, caller.principal_id)

    def transaction(conn: sa.Connection) -> None:
        run = queries.give_back(conn, own, error=failure.error)
        if run is None:
            run = queries.finish(conn, own, state="dead", error=failure.error)
            if run is None:
                raise lease_lost(conn, own)
            _record_death(conn, run, new_id, created_by=caller.principal_id)
        after = {"state": run.state, "attempt": run.attempt, "error": failure.error}
        caller.record(conn, "run.fail", f"run/{run_id}", before={"state": "running"}, after=after)

    with_retry(registry.engine, transaction)


def lease_lost(conn: sa.Connection, own: queries.Hold) -> DeltaregError:
    """Make the error for a write to a run that the caller does not hold (any more)."""
    run = queries.run_row(conn, own.run_id)
    if run is None:
        return NotFound(f"there is no run {own.run_id[:40]}", fix="claim another run")
    now = run.state if run.fence == own.fence else f"{run.state}, at fence {run.fence}"
    return LeaseLost(
        f"run {run.id} is not under your lease (any more): it is {now}",
        fix="drop the result and claim another run",
    )


def bury_exhausted(registry: Registry, *, new_id: Callable[[], UUID] = uuid4) -> int:
    """End the runs whose last worker went away, and say how many there were."""
    with read(registry.engine) as conn:
        found = queries.exhausted(conn)
    buried = [
        with_retry(registry.engine, partial(_bury, run_id=run_id, new_id=new_id))
        for run_id in found
    ]
    return sum(buried)


def _see_worker(registry: Registry, caller: Caller, request: LeaseRequest) -> None:
    labels = request.labels | ({ONLY_RUN: request.run} if request.run else {})
    with read(registry.engine) as conn:
        row = worker_queries.worker_row(conn, request.worker)
    is_known = row is not None and row.principal_id == caller.principal_id
    if row is not None and is_known and row.labels == labels and row.age_us < _SEEN_US:
        return
    is_own = with_retry(
        registry.engine,
        lambda conn: worker_queries.see_worker(
            conn, request.worker, principal_id=caller.principal_id, labels=labels
        ),
    )
    if not is_own:
        raise Forbidden(
            f"a worker of another principal is called {request.worker!r}",
            fix="give each worker a name of its own",
        )
    if not is_for_one_run(labels) and (row is None or row.labels != labels):
        queue_reverification(registry)


def _fitting(registry: Registry, request: LeaseRequest) -> Iterator[str]:
    """List the runs that a worker could do, best first, a page at a time."""
    after: ClaimableRow | None = None
    while True:
        with read(registry.engine) as conn:
            rows = queries.claimable(conn, what=request.what, only=request.run, after=after)
        if not rows:
            return
        yield from (row.id for row in rows if fits(row.labels, request.labels))
        after = rows[-1]


def _grant(registry: Registry, run: RunRow, *, lease_s: float) -> LeaseGrant:
    with read(registry.engine) as conn:
        version = version_queries.version_by_id(conn, present(run.version_id))
        row = base_queries.base_of(conn, version)
        if row is None:
            raise NotFound(f"{ref_of(version)} is for a base that is not here: {version.base_root}")
        base = describe_base(conn, row)
    return LeaseGrant(
        run=run.id, what=run.what, fence=run.fence, lease_s=lease_s, attempt=run.attempt,
        ref=ref_of(version), digest=version.manifest_digest, base=base, suite=run.suite,
        suite_digest=run.request.get("suite_digest", ""), against=run.request.get("against", ""),
        promoted=run.request.get("promoted", ""),
        promoted_digest=run.request.get("promoted_digest", ""),
    )  # fmt: skip


def _bury(conn: sa.Connection, run_id: str, new_id: Callable[[], UUID]) -> bool:
    run = queries.bury(conn, run_id, error=_NO_ANSWER)
    if run is None:
        return False
    _record_death(conn, run, new_id, created_by=None)
    record_audit(
        conn, actor="registry", token_id=None, action="run.dead", subject=f"run/{run_id}",
        before={"state": "running"}, after={"state": "dead", "error": run.error}, request_id="",
    )  # fmt: skip
    return True


def _record_death(
    conn: sa.Connection, run: RunRow, new_id: Callable[[], UUID], *, created_by: int | None
) -> None:
    if run.what == "verify":
        record_inconclusive(
            conn, run, present(run.error), verdict_id=str(new_id()), created_by=created_by
        )


def _answered_before(conn: sa.Connection, own: queries.Hold) -> VerdictInfo:
    """Give the verdict that this worker's first report made, whose answer may have been lost."""
    run = queries.run_row(conn, own.run_id)
    verdict = verdict_queries.verdicts_of_runs(conn, [own.run_id]).get(own.run_id)
    is_same = run is not None and run.state == "done" and run.fence == own.fence
    if verdict is None or not is_same or verdict.created_by != own.principal_id:
        raise lease_lost(conn, own)
    return describe_verdict(verdict)


def _verdict(conn: sa.Connection, run_id: str) -> VerdictRow:
    return verdict_queries.verdicts_of_runs(conn, [run_id])[run_id]
