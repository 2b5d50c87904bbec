"""The end of a proof: claimed bytes are proven and offered from now on, or they are a lie.

Who sent bytes does not prove them. A proof is bound to the storage revision that was decoded: of a
form that was replaced meanwhile it says nothing, and the new one is proven anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

from deltareg.db.queries import forms, proofs
from deltareg.db.queries import runs as run_queries
from deltareg.db.queries.shares import Held
from deltareg.db.rows import RunRow, StandingProofRow
from deltareg.db.session import read, with_retry
from deltareg.errors import Forbidden, InvalidInput, LeaseLost
from deltareg.identity.manifest import Manifest
from deltareg.identity.storage_map import StorageMap
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.kept import decoded
from deltareg.service.push.corruption import record_lie
from deltareg.service.push.places import Place, places_of, record_places
from deltareg.service.push.subject import Subject, subject_of
from deltareg.service.registry import Caller, Registry
from deltareg.service.runs.held import lease_lost
from deltareg.service.runs.kinds.prove import WHAT, held_by, proof_key, queue_proof, result_of
from deltareg.service.runs.runs import describe_run
from deltareg.service.verdicts.verdicts import DIGESTS
from deltareg.wire import ProofReport, RunInfo, VerdictReport


@dataclass(frozen=True, slots=True)
class Decoded:
    """What is stored, read before the transaction that says what is known of it.

    Attributes:
        subject: Of what.
        revision: As of which storage revision.
        manifest: What it is to be.
        storage: How it is stored.
        places: Where its pieces are.
    """

    subject: Subject
    revision: int
    manifest: Manifest
    storage: StorageMap
    places: Sequence[Place]


def complete_proof(registry: Registry, caller: Caller, run_id: str, report: ProofReport) -> RunInfo:
    """End a run that proves; the same report again is answered alike.

    Raises:
        LeaseLost: The run is not the caller's (any more); nothing changes.
        Forbidden: The caller sent the bytes.
    """
    caller.require(Right.VERIFY, on=EVERYTHING)
    own = run_queries.Hold(run_id, report.fence, caller.principal_id)
    with read(registry.engine) as conn:
        run = run_queries.held_run(conn, own)
        if run is None:
            return _answered_before(conn, caller, own)
    if run.what != WHAT:
        raise InvalidInput(f"run {run_id} is a {run.what}, it proves nothing")
    found = decode_stored(registry, held_by(run))
    wrong = {part.name: part.detail for part in report.wrong}

    def transaction(conn: sa.Connection) -> RunInfo:
        now = proofs.standing(conn, found.subject.held, lock=True)
        is_about_now = report.storage_revision == now.storage_revision == found.revision
        _refuse_sender(now, caller)
        counts = is_about_now and now.deleted_at is None
        result = result_of("corrupt" if wrong else "proven", wrong) if counts else {}
        if run_queries.finish(conn, own, state="done", result=result) is None:
            raise lease_lost(conn, own)
        if counts and wrong:
            record_lie(conn, caller, found.subject, found.storage, wrong)
        elif counts:
            record_proof(conn, caller, found, before=now)
        elif now.deleted_at is None:  # another form took its place meanwhile
            queue_proof(conn, found.subject.held, created_by=caller.principal_id)
        return describe_run(conn, caller, run_id)

    return with_retry(registry.engine, transaction)


def prove_by_verdict(
    registry: Registry, caller: Caller, run_id: str, report: VerdictReport
) -> None:
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
        held = Held(run.version_id)
        known = proofs.standing(conn, held)
    if outcome == "fail":
        queue = partial(queue_proof, held=held, created_by=caller.principal_id)
        with_retry(registry.engine, queue)
        return
    if known.is_proven or not report.storage_revision:
        return
    found = decode_stored(registry, held)

    def transaction(conn: sa.Connection) -> None:
        now = proofs.standing(conn, held, lock=True)
        is_about_now = report.storage_revision == now.storage_revision == found.revision
        is_other = now.sender_id != caller.principal_id
        if is_about_now and is_other and now.deleted_at is None and not now.is_proven:
            record_proof(conn, caller, found, before=now)
            run_queries.end_queued(conn, proof_key(held), result=result_of("proven", {}))

    with_retry(registry.engine, transaction)


def decode_stored(registry: Registry, held: Held) -> Decoded:
    """Read how something is stored, and work out where its pieces are."""
    with read(registry.engine) as conn:
        subject = subject_of(conn, held)
        revision = proofs.standing(conn, held).storage_revision
        documents = proofs.content(conn, held)
    digest = str(Manifest.digest_of(documents.manifest))
    manifest = decoded(digest, lambda: documents.manifest)
    storage = StorageMap.decode(documents.storage_map)
    places = places_of(manifest, storage, subject.reference_root)
    return Decoded(subject, revision, manifest, storage, places)


def record_proof(
    conn: sa.Connection, caller: Caller, found: Decoded, *, before: StandingProofRow
) -> None:
    """Say that bytes are proven, and offer their pieces; the subject is locked as it was read."""
    held = found.subject.held
    record_places(conn, found.subject.scope, found.places, proofs.packs_of(conn, held))
    if before.is_proven:
        return
    proofs.mark_proven(conn, held)
    if not held.is_base:
        for form in forms.forms_of(conn, held.row_id, state="proposed"):
            if form.why == "push":
                forms.end_form(conn, form.id, state="dropped")
    state = "claimed" if before.corrupt_at is None else "corrupt"
    caller.record(
        conn, found.subject.proved, found.subject.name, on=found.subject.on,
        before={"proof": state}, after={"proof": "proven", "storage": found.revision},
    )  # fmt: skip


def form_to_prove(registry: Registry, caller: Caller, run_id: str) -> bytes:
    """Give the storage map that a run is to prove to the worker that holds it.

    Raises:
        LeaseLost: The run is not the caller's (any more).
    """
    caller.require(Right.VERIFY, on=EVERYTHING)
    with read(registry.engine) as conn:
        return proofs.content(conn, held_by(_held(conn, caller, run_id))).storage_map


def _held(conn: sa.Connection, caller: Caller, run_id: str) -> RunRow:
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


def _answered_before(conn: sa.Connection, caller: Caller, own: run_queries.Hold) -> RunInfo:
    """Show the run if this holder has ended it, and the answer may have been lost."""
    run = run_queries.run_row(conn, own.run_id)
    if run is None or run.state != "done" or run.fence != own.fence or run.what != WHAT:
        raise lease_lost(conn, own)
    return describe_run(conn, caller, own.run_id)
