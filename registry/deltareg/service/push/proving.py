"""The end of a proof: claimed bytes become proven and are offered, or they are corrupt.

The sender of bytes cannot prove them. A proof is bound to the storage revision that was decoded: it
says nothing about a form that replaced that one meanwhile, which is proven anew. Nor does it undo
what was found in the meantime: damage stays until the bytes are pushed again, and if two workers
disagree, a third is asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

from deltareg.db.access.grants import not_proven_by
from deltareg.db.runs import runs as run_queries
from deltareg.db.runs.rows import RunRow
from deltareg.db.session import read, with_retry
from deltareg.db.storage import forms, proofs
from deltareg.db.storage.proof_rows import StandingProofRow
from deltareg.db.storage.shares import PackHolder
from deltareg.db.upkeep.damage import bad_packs, pack_rows_of_form
from deltareg.errors import Forbidden, InvalidInput, LeaseLost
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.push.accusing import check_read
from deltareg.service.push.corruption import record_lie
from deltareg.service.push.damage import find_damage, find_damage_of
from deltareg.service.push.damage import is_damaged as known_as_damaged
from deltareg.service.push.proposals import complete_form_proof, decode_form, form_map
from deltareg.service.push.proven import DecodedStorage, decode_stored, record_proof
from deltareg.service.registry import Caller, Registry
from deltareg.service.runs.kinds.prove import WHAT, form_of, held_by, proof_key, queue_proof, result_of
from deltareg.service.runs.lost_lease import lease_lost
from deltareg.service.runs.runs import describe_run
from deltareg.service.verdicts.signed_work import check_signed
from deltareg.service.verdicts.verdicts import DIGESTS
from deltareg.wire import ProofReport, RunInfo, VerdictReport


def complete_proof(registry: Registry, caller: Caller, run_id: str, report: ProofReport) -> RunInfo:
    """End a proof run with its report; the same report again gets the same answer.

    Raises:
        LeaseLost: The run is not the caller's (any more); nothing changes.
        BadSignature: The report was not signed under the lease.
        Forbidden: The caller sent the bytes.
        Conflict: The report finds a problem in bytes that are not the stored ones.
        InvalidInput: The report finds a problem but does not say what was read.
    """
    caller.require(Right.VERIFY, on=EVERYTHING)
    own = run_queries.RunClaim(run_id, report.fence, caller.principal_id)
    with read(registry.engine) as conn:
        run = run_queries.held_run(conn, own)
        if run is None:
            return _answered_before(conn, caller, own)
        if run.what != WHAT:
            raise InvalidInput(f"run {run_id} is a {run.what}, it proves nothing")
        keyid = check_signed(conn, run, report, principal_id=caller.principal_id)
    wrong = {part.name: part.detail for part in report.wrong}
    form_id = form_of(run)
    if form_id is not None:
        if wrong:
            _check_form(registry, caller, form_id, report)
        return complete_form_proof(registry, caller, own, form_id, wrong, keyid=keyid)
    decoded = decode_stored(registry, held_by(run))
    # Before somebody is accused: the store may have damaged the bytes since they came.
    damaged = bool(wrong) and _is_damaged(registry, caller, decoded)
    if wrong and not damaged and report.storage_revision == decoded.revision:
        check_read(registry, decoded, report.read)
    began_us = run.started_at or 0
    outcome = _Told(own, report, decoded, wrong, is_damaged=damaged, began=began_us, keyid=keyid)
    return with_retry(registry.engine, lambda conn: _settle(conn, caller, outcome))


OTHER_WORKER = "run a worker of somebody else: deltareg token create --for NAME --kind wrk --acts-for THEM"


@dataclass(frozen=True, slots=True)
class _Told:
    """The report of a worker about what it decoded, and what was stored when the server looked.

    With `is_damaged`, the store has lost or changed bytes, and that is recorded already. `began` is
    when the worker began, in microseconds of the database's clock, and `keyid` the key that signed
    the report.
    """

    own: run_queries.RunClaim
    report: ProofReport
    found: DecodedStorage
    wrong: Mapping[str, str]
    is_damaged: bool
    began: int
    keyid: str


def _is_damaged(registry: Registry, caller: Caller, found: DecodedStorage) -> bool:
    """Check all stored bytes; return whether some are damaged."""
    looked = find_damage_of(registry, caller, found.subject.held)
    with read(registry.engine) as conn:
        return bool(looked) or bool(bad_packs(conn, found.subject.held))


def _check_form(registry: Registry, caller: Caller, form_id: int, report: ProofReport) -> None:
    """Compare what a worker read of a form that it calls wrong with what is stored of it."""
    with read(registry.engine) as conn:
        form = forms.form_by_id(conn, form_id)
        if form is None or form.state != "proposed":
            return
        decoded, rows = decode_form(conn, form), pack_rows_of_form(conn, form_id)
    find_damage(registry, caller, rows)
    with read(registry.engine) as conn:
        form = forms.form_by_id(conn, form_id)
    if form is not None and form.state == "proposed":  # one that is damaged has gone by that
        check_read(registry, decoded, report.read)


def _settle(conn: sa.Connection, caller: Caller, told: _Told) -> RunInfo:
    """Record the result of a proof and end its run."""
    decoded, wrong = told.found, told.wrong
    now = proofs.standing(conn, decoded.subject.held, lock=True)
    is_about_now = told.report.storage_revision == now.storage_revision == decoded.revision
    _refuse_sender(conn, now, caller)
    is_damaged = told.is_damaged or known_as_damaged(conn, decoded.subject.held, decoded.storage)
    is_newer = now.corrupt_at is not None and now.corrupt_at >= told.began and not is_damaged
    counts = is_about_now and now.deleted_at is None and not (is_newer and not wrong)
    outcome = "corrupt" if wrong or is_damaged else "proven"
    result = result_of(outcome, wrong, keyid=told.keyid) if counts else {}
    if run_queries.finish(conn, told.own, state="done", result=result) is None:
        raise lease_lost(conn, told.own)
    if counts and is_damaged:
        pass  # who sent it did not lie, and what is damaged is healed by bytes, not by words
    elif counts and wrong:
        record_lie(conn, caller, decoded.subject, decoded.storage, wrong)
    elif counts:
        record_proof(conn, caller, decoded, before=now)
    elif now.deleted_at is None:  # another form took its place meanwhile, or somebody found a lie
        queue_proof(conn, decoded.subject.held, created_by=caller.principal_id, is_anew=is_newer)
    return describe_run(conn, caller, told.own.run_id)


def prove_by_verdict(registry: Registry, caller: Caller, run_id: str, report: VerdictReport) -> None:
    """Accept a verification that decoded all stored bytes as their proof.

    Call it once the verdict is recorded; if that does not happen, the proof run is still queued. A
    verification that found wrong digests leads to a new proof.
    """
    caller.require(Right.VERIFY, on=EVERYTHING)
    outcome = {check.name: check.verdict for check in report.checks}.get(DIGESTS)
    with read(registry.engine) as conn:
        run = run_queries.run_row(conn, run_id)
        if run is None or run.version_id is None or outcome not in {"pass", "fail"}:
            return
        held = PackHolder(run.version_id)
        standing = proofs.standing(conn, held)
    if outcome == "fail":
        queue = partial(queue_proof, held=held, created_by=caller.principal_id, is_anew=True)
        with_retry(registry.engine, queue)
        return
    if standing.is_proven or not report.storage_revision:
        return
    decoded = decode_stored(registry, held)

    def transaction(conn: sa.Connection) -> None:
        now = proofs.standing(conn, held, lock=True)
        is_about_now = report.storage_revision == now.storage_revision == decoded.revision
        is_other = not _is_sender(conn, now, caller)
        is_claim = now.corrupt_at is None and not now.is_proven  # what is corrupt takes a proof
        if is_about_now and is_other and now.deleted_at is None and is_claim:
            record_proof(conn, caller, decoded, before=now)
            run_queries.end_queued(conn, proof_key(held), result=result_of("proven", {}))

    with_retry(registry.engine, transaction)


def form_to_prove(registry: Registry, caller: Caller, run_id: str) -> bytes:
    """Return the storage map that a run is to prove, to the worker that holds the run.

    Raises:
        LeaseLost: The run is not the caller's (any more).
    """
    caller.require(Right.VERIFY, on=EVERYTHING)
    with read(registry.engine) as conn:
        run = _require_lease(conn, caller, run_id)
        form_id = form_of(run)
        if form_id is not None:
            return form_map(conn, form_id)
        return proofs.content(conn, held_by(run)).storage_map


def _require_lease(conn: sa.Connection, caller: Caller, run_id: str) -> RunRow:
    run = proofs.held_proof(conn, run_id, principal_id=caller.principal_id)
    if run is None:
        raise LeaseLost(f"run {run_id} is not under your lease (any more)", fix="claim another")
    return run


def _refuse_sender(conn: sa.Connection, now: StandingProofRow, caller: Caller) -> None:
    if _is_sender(conn, now, caller):
        raise Forbidden("who sent bytes does not prove them, nor does a worker of theirs", fix=OTHER_WORKER)


def _is_sender(conn: sa.Connection, now: StandingProofRow, caller: Caller) -> bool:
    """Whether a person who stands behind a worker sent the bytes, under whatever name."""
    return now.sender_id in not_proven_by(conn, caller.principal_id)


def _answered_before(conn: sa.Connection, caller: Caller, own: run_queries.RunClaim) -> RunInfo:
    """Return the run if this holder has ended it already: the first answer may have been lost."""
    run = run_queries.run_row(conn, own.run_id)
    if run is None or run.state != "done" or run.fence != own.fence or run.what != WHAT:
        raise lease_lost(conn, own)
    return describe_run(conn, caller, own.run_id)
