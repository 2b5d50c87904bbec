"""The end of a proof: claimed bytes are proven and offered from now on, or they are a lie.

Who sent bytes does not prove them. A proof is bound to the storage revision that was decoded: of a
form that was replaced meanwhile it says nothing, and the new one is proven anew. Nor does it undo
what was found while it was under way: damage stays until the bytes come again, and of two workers
that do not agree a third is asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

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
from deltareg.service.runs.held import lease_lost
from deltareg.service.runs.kinds.prove import WHAT, form_of, held_by, proof_key, queue_proof, result_of
from deltareg.service.runs.runs import describe_run
from deltareg.service.verdicts.signed_work import check_signed
from deltareg.service.verdicts.verdicts import DIGESTS
from deltareg.wire import ProofReport, RunInfo, VerdictReport


def complete_proof(registry: Registry, caller: Caller, run_id: str, report: ProofReport) -> RunInfo:
    """End a run that proves; the same report again is answered alike.

    Raises:
        LeaseLost: The run is not the caller's (any more); nothing changes.
        BadSignature: Its worker did not sign that under the lease.
        Forbidden: The caller sent the bytes.
        Conflict: Something is wrong with what it read, and that is not what is stored.
        InvalidInput: Something is wrong, and it does not say what it read.
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
    found = decode_stored(registry, held_by(run))
    # Before somebody is accused: the store may have damaged the bytes since they came.
    damaged = bool(wrong) and _is_damaged(registry, caller, found)
    if wrong and not damaged and report.storage_revision == found.revision:
        check_read(registry, found, report.read)
    began = run.started_at or 0
    told = _Told(own, report, found, wrong, is_damaged=damaged, began=began, keyid=keyid)
    return with_retry(registry.engine, lambda conn: _settle(conn, caller, told))


@dataclass(frozen=True, slots=True)
class _Told:
    """What a worker says of what it decoded, and what was stored when the server looked.

    With `is_damaged`, the store has lost or changed bytes, and that is written down already. The
    worker `began` to look at that time, in microseconds of the database's clock, and signed what it
    says with the key `keyid`.
    """

    own: run_queries.RunClaim
    report: ProofReport
    found: DecodedStorage
    wrong: Mapping[str, str]
    is_damaged: bool
    began: int
    keyid: str


def _is_damaged(registry: Registry, caller: Caller, found: DecodedStorage) -> bool:
    """Look at all that is stored; whether some of it is damaged."""
    looked = find_damage_of(registry, caller, found.subject.held)
    with read(registry.engine) as conn:
        return bool(looked) or bool(bad_packs(conn, found.subject.held))


def _check_form(registry: Registry, caller: Caller, form_id: int, report: ProofReport) -> None:
    """Hold what was read of a form that is called wrong against what is stored of it."""
    with read(registry.engine) as conn:
        form = forms.form_by_id(conn, form_id)
        if form is None or form.state != "proposed":
            return
        stored, rows = decode_form(conn, form), pack_rows_of_form(conn, form_id)
    find_damage(registry, caller, rows)
    with read(registry.engine) as conn:
        form = forms.form_by_id(conn, form_id)
    if form is not None and form.state == "proposed":  # one that is damaged has gone by that
        check_read(registry, stored, report.read)


def _settle(conn: sa.Connection, caller: Caller, told: _Told) -> RunInfo:
    """Write down what came of a proof, and end its run."""
    found, wrong = told.found, told.wrong
    now = proofs.standing(conn, found.subject.held, lock=True)
    is_about_now = told.report.storage_revision == now.storage_revision == found.revision
    _refuse_sender(now, caller)
    is_damaged = told.is_damaged or known_as_damaged(conn, found.subject.held, found.storage)
    is_newer = now.corrupt_at is not None and now.corrupt_at >= told.began and not is_damaged
    counts = is_about_now and now.deleted_at is None and not (is_newer and not wrong)
    outcome = "corrupt" if wrong or is_damaged else "proven"
    result = result_of(outcome, wrong, keyid=told.keyid) if counts else {}
    if run_queries.finish(conn, told.own, state="done", result=result) is None:
        raise lease_lost(conn, told.own)
    if counts and is_damaged:
        pass  # who sent it did not lie, and what is damaged is healed by bytes, not by words
    elif counts and wrong:
        record_lie(conn, caller, found.subject, found.storage, wrong)
    elif counts:
        record_proof(conn, caller, found, before=now)
    elif now.deleted_at is None:  # another form took its place meanwhile, or somebody found a lie
        queue_proof(conn, found.subject.held, created_by=caller.principal_id, is_anew=is_newer)
    return describe_run(conn, caller, told.own.run_id)


def prove_by_verdict(registry: Registry, caller: Caller, run_id: str, report: VerdictReport) -> None:
    """Take a verification that decoded all that is stored as the proof of it.

    To be called once the verdict is recorded; without it, the run that proves is still there. One
    that found wrong digests has somebody look at what is stored.
    """
    caller.require(Right.VERIFY, on=EVERYTHING)
    outcome = {check.name: check.verdict for check in report.checks}.get(DIGESTS)
    with read(registry.engine) as conn:
        run = run_queries.run_row(conn, run_id)
        if run is None or run.version_id is None or outcome not in {"pass", "fail"}:
            return
        held = PackHolder(run.version_id)
        known = proofs.standing(conn, held)
    if outcome == "fail":
        queue = partial(queue_proof, held=held, created_by=caller.principal_id, is_anew=True)
        with_retry(registry.engine, queue)
        return
    if known.is_proven or not report.storage_revision:
        return
    found = decode_stored(registry, held)

    def transaction(conn: sa.Connection) -> None:
        now = proofs.standing(conn, held, lock=True)
        is_about_now = report.storage_revision == now.storage_revision == found.revision
        is_other = now.sender_id != caller.principal_id
        is_claim = now.corrupt_at is None and not now.is_proven  # what is corrupt takes a proof
        if is_about_now and is_other and now.deleted_at is None and is_claim:
            record_proof(conn, caller, found, before=now)
            run_queries.end_queued(conn, proof_key(held), result=result_of("proven", {}))

    with_retry(registry.engine, transaction)


def form_to_prove(registry: Registry, caller: Caller, run_id: str) -> bytes:
    """Give the storage map that a run is to prove to the worker that holds it.

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


def _refuse_sender(now: StandingProofRow, caller: Caller) -> None:
    if now.sender_id == caller.principal_id:
        raise Forbidden(
            "who sent bytes does not prove them",
            fix="run a worker with a token of its own: deltareg token create NAME --scope verify",
        )


def _answered_before(conn: sa.Connection, caller: Caller, own: run_queries.RunClaim) -> RunInfo:
    """Show the run if this holder has ended it, and the answer may have been lost."""
    run = run_queries.run_row(conn, own.run_id)
    if run is None or run.state != "done" or run.fence != own.fence or run.what != WHAT:
        raise lease_lost(conn, own)
    return describe_run(conn, caller, own.run_id)
