"""Leases: a worker claims a run for a time, extends its claim, and ends the run once.

A worker serves all namespaces, so all of this needs the right to verify everything.

Everything that depends on time uses the database's clock. A run whose lease has expired goes to the
next worker with a higher fence, which shuts the old worker out; a late worker that was not replaced
may still finish. After the last attempt a run is dead, and what it was to judge gets an
inconclusive verdict in the same transaction, never a pass.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from secrets import token_hex
from uuid import UUID, uuid4

import sqlalchemy as sa

from deltareg.db.bases import bases as base_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.runs import runs as queries
from deltareg.db.runs import workers as worker_queries
from deltareg.db.runs.queue import labels_waiting
from deltareg.db.runs.rows import ClaimableRow, RunRow
from deltareg.db.session import read, with_retry
from deltareg.db.sql.clock import US_PER_S
from deltareg.db.sql.row_protocols import present
from deltareg.db.verdicts.signing import bind_lease
from deltareg.errors import Forbidden, NotFound
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.describe import describe_base, ref_of
from deltareg.service.events import Action
from deltareg.service.labels import ONLY_RUN, fits, is_for_one_run
from deltareg.service.ledger.references import references_of
from deltareg.service.registry import Caller, Registry
from deltareg.service.runs.death import bury_exhausted, keep_death
from deltareg.service.runs.eligible import OwnWork, enrolled_key, may_take
from deltareg.service.runs.ends import OUT_OF_TIME, UNMEASURED, result_of_end
from deltareg.service.runs.ignorance import unknown_in
from deltareg.service.runs.info import LIVE_US, concern_of_run
from deltareg.service.runs.kinds.answer import question_of
from deltareg.service.runs.kinds.prove import ANEW
from deltareg.service.runs.knowledge import KnowingWorker, marks_of
from deltareg.service.runs.last_worker import LastWorker
from deltareg.service.runs.lost_lease import lease_lost
from deltareg.service.runs.reverify import queue_reverification
from deltareg.service.runs.run_base import base_of_run
from deltareg.service.runs.unknown_again import queue_unknown_again
from deltareg.service.runs.unmeasured import UnmeasuredBases, note_unmeasured
from deltareg.service.runs.unnamed import make_redactor
from deltareg.signing.keys import PublicKey
from deltareg.wire import LeaseGrant, LeaseHold, LeaseRequest, RunFailure
from deltareg.wire.knowledge import digest_words

_SEEN_US = 20 * US_PER_S
_REMEMBERED_US = 3_600 * US_PER_S
"""How long what a worker has shown not to know is remembered of one that does not ask; it may hold a long run."""
_MOST_UNFIT = 50
"""So many runs in a row that do not fit are looked at; then what does not fit is left out by its labels."""


def claim_lease(
    registry: Registry,
    caller: Caller,
    request: LeaseRequest,
    *,
    lease_s: float,
    new_id: Callable[[], UUID] = uuid4,
    new_nonce: Callable[[], str] = token_hex,
) -> LeaseGrant | None:
    """Lease the best run that fits the labels of a worker; None if there is none now.

    Nothing is written if there is no work, so workers may ask as often as they like.

    Raises:
        Forbidden: The token does not allow it, the worker is not enrolled, or its name is taken.
    """
    caller.require(Right.VERIFY, on=EVERYTHING)
    with read(registry.engine) as conn:
        key = enrolled_key(conn, caller, request)
        own = OwnWork.of(conn, caller.principal_id)
    knowing = KnowingWorker.of(request, _see_worker(registry, caller, request))
    bury_exhausted(registry, new_id=new_id)
    lease_us = round(lease_s * US_PER_S)
    unmeasured = UnmeasuredBases(registry, request.labels.get("device", ""), "" if key is None else key.keyid, new_id)
    last_worker = LastWorker(registry, request)
    for row in _fitting(registry, own if key is not None else OwnWork(own.never, frozenset()), request):
        if not may_take(row.request, key, caller, while_others=own.while_others):
            continue
        if knowing.is_kept_from(registry, row):
            continue
        if not request.run and (last_worker.is_kept_from(row) or unmeasured.passes_over(row)):
            continue
        claim = partial(_claim, run_id=row.id, request=request, lease_us=lease_us, nonce=(nonce := new_nonce()))
        run = with_retry(registry.engine, claim)
        if run is not None:
            grant = _grant(registry, run, lease_s=lease_s)
            return grant.model_copy(update={"nonce": nonce})
    return None


def lose_worker(registry: Registry, caller: Caller, worker: str) -> None:
    """Record that a worker hung up while it waited for work: it is gone unless it asks again."""
    caller.require(Right.VERIFY, on=EVERYTHING)
    with_retry(
        registry.engine,
        lambda conn: worker_queries.lose_worker(
            conn, worker, principal_id=caller.principal_id, unseen_us=LIVE_US + US_PER_S
        ),
    )


def hold_lease(registry: Registry, caller: Caller, hold: LeaseHold, *, lease_s: float) -> None:
    """Extend a lease from now.

    Raises:
        LeaseLost: The run was given to another worker, was cancelled or has ended: stop.
    """
    caller.require(Right.VERIFY, on=EVERYTHING)
    own = queries.RunClaim(hold.run, hold.fence, caller.principal_id)

    def transaction(conn: sa.Connection) -> None:
        if not queries.extend(conn, own, lease_us=round(lease_s * US_PER_S)):
            raise lease_lost(conn, own)

    with_retry(registry.engine, transaction)


def fail_run(
    registry: Registry, caller: Caller, run_id: str, failure: RunFailure, *, new_id: Callable[[], UUID] = uuid4
) -> None:
    """Return a run that could not be carried out to the queue; after the last attempt it is dead.

    One that ran out of time is dead at once, and so is one whose base cannot be measured: they
    would hold another worker for as long again. Somebody may ask for them again. One that the worker
    does not know (`runs.ignorance`) was not tried: it waits at its place for a worker that does.

    Raises:
        LeaseLost: The run was given to another worker, was cancelled or has ended.
    """
    caller.require(Right.VERIFY, on=EVERYTHING)
    own = queries.RunClaim(run_id, failure.fence, caller.principal_id)

    def transaction(conn: sa.Connection) -> None:
        held_run = queries.held_run(conn, own)
        if held_run is None:
            raise lease_lost(conn, own)
        error, why = failure.error, OUT_OF_TIME if failure.is_out_of_time else ""
        if failure.measured_s is not None and held_run.version_id is not None:
            why = UNMEASURED
            error = note_unmeasured(
                conn,
                held_run,
                device=_device_of(conn, held_run),
                seconds=failure.measured_s,
                reason=error,
                created_by=caller.principal_id,
            )
        error = make_redactor(conn, held_run)(error)
        unknown = unknown_in(failure)
        if unknown:
            run = queries.give_back_untried(conn, own, error=error)
            worker_queries.note_unknown(conn, held_run.lease_holder or "", [*unknown, *marks_of(held_run)])
        else:
            run = None if why else queries.give_back(conn, own, error=error)
        if run is None:
            run = queries.finish(conn, own, state="dead", error=error, result=result_of_end(why) or None)
            if run is None:
                raise lease_lost(conn, own)
            keep_death(conn, run, new_id, created_by=caller.principal_id)
        after = {"state": run.state, "attempt": run.attempt, "error": error}
        caller.record(
            conn,
            Action.RUN_FAIL,
            f"run/{run_id}",
            on=concern_of_run(conn, run),
            before={"state": "running"},
            after=after,
        )

    with_retry(registry.engine, transaction)


def _see_worker(registry: Registry, caller: Caller, request: LeaseRequest) -> list[str] | None:
    """Record that a worker asks, if need be; return what it has shown not to know."""
    labels = request.labels | ({ONLY_RUN: request.run} if request.run else {})
    with read(registry.engine) as conn:
        row = worker_queries.worker_row(conn, request.worker)
    is_known = row is not None and row.principal_id == caller.principal_id
    digest = None if request.knows is None else digest_words(request.knows)
    is_same = row is not None and is_known and row.labels == labels and row.knows_digest == digest
    is_here = row is not None and row.age_us < _REMEMBERED_US  # else it may have been installed anew meanwhile
    if row is not None and is_same and row.age_us < _SEEN_US:
        return row.unknown
    see = partial(
        worker_queries.see_worker,
        name=request.worker,
        principal_id=caller.principal_id,
        labels=labels,
        knows=request.knows,
        knows_digest=digest,
        is_same=is_same and is_here,
    )
    if not with_retry(registry.engine, see):
        raise Forbidden(
            f"a worker of another principal is called {request.worker!r}", fix="give each worker a name of its own"
        )
    if not is_for_one_run(labels) and not is_same:
        queue_reverification(registry)
        queue_unknown_again(registry)
    return row.unknown if row is not None and is_same and is_here else None


def _fitting(registry: Registry, own: OwnWork, request: LeaseRequest) -> Iterator[ClaimableRow]:
    """Yield the runs that a worker could do, best first; a run may come twice."""
    claimable = partial(
        queries.claimable,
        registry.engine,
        what=request.what,
        not_proving=own.never,
        not_judging=own.while_others,
        only=request.run,
    )
    unfit = 0
    for row in claimable():
        if fits(row.labels, request.labels):
            unfit = 0
            yield row
        elif (unfit := unfit + 1) == _MOST_UNFIT:
            break
    else:
        return
    others = claimable(unlike=_unfit_labels(registry, request))
    yield from (row for row in others if fits(row.labels, request.labels))  # labels may have come since


def _unfit_labels(registry: Registry, request: LeaseRequest) -> list[str]:
    with read(registry.engine) as conn:
        waiting = labels_waiting(conn)
    return [labels for labels in waiting if not fits(json.loads(labels), request.labels)]


def _claim(conn: sa.Connection, run_id: str, *, request: LeaseRequest, lease_us: int, nonce: str) -> RunRow | None:
    """Lease a run to a worker, and store how its report must be signed."""
    run = queries.claim(conn, run_id, holder=request.worker, lease_us=lease_us)
    if run is not None:
        bind_lease(conn, run_id, nonce=nonce, public=str(PublicKey.parse(request.key)))
    return run


def _device_of(conn: sa.Connection, run: RunRow) -> str:
    row = worker_queries.worker_row(conn, run.lease_holder or "")
    return "" if row is None else row.labels.get("device", "")


def _grant(registry: Registry, run: RunRow, *, lease_s: float) -> LeaseGrant:
    if run.base_id is not None:
        return _grant_base(registry, run, present(run.base_id), lease_s=lease_s)
    with read(registry.engine) as conn:
        version = version_queries.version_by_id(conn, present(run.version_id))
        row = base_of_run(conn, run.request, version)
        if row is None:
            raise NotFound(f"{ref_of(version)} is for a base that is not here: {version.base_root}")
        base = describe_base(conn, row)
        question = question_of(conn, run)
    return LeaseGrant(
        run=run.id,
        what=run.what,
        fence=run.fence,
        lease_s=lease_s,
        attempt=run.attempt,
        ref=ref_of(version),
        digest=version.manifest_digest,
        base=base,
        suite=run.suite,
        suite_digest=run.request.get("suite_digest", ""),
        against=run.request.get("against", ""),
        promoted=run.request.get("promoted", ""),
        promoted_digest=run.request.get("promoted_digest", ""),
        references=references_of(run.request),
        waived=[name for name in run.request.get("waived", "").split(",") if name],
        storage_revision=version.storage_revision,
        is_anew=ANEW in run.request,
        request_id=run.request.get(queries.REQUEST_ID, ""),
        traceparent=run.request.get(queries.TRACEPARENT, ""),
        question=question,
    )


def _grant_base(registry: Registry, run: RunRow, base_id: int, *, lease_s: float) -> LeaseGrant:
    with read(registry.engine) as conn:
        row = base_queries.base_rows(conn, base_id=base_id, limit=1, also_deleted=True)[0]
        base = describe_base(conn, row)
    return LeaseGrant(
        run=run.id,
        what=run.what,
        fence=run.fence,
        lease_s=lease_s,
        attempt=run.attempt,
        ref="",
        digest=row.manifest_digest,
        base=base,
        suite="",
        suite_digest="",
        storage_revision=row.storage_revision,
        is_anew=ANEW in run.request,
        request_id=run.request.get(queries.REQUEST_ID, ""),
        traceparent=run.request.get(queries.TRACEPARENT, ""),
    )
