"""Runs, leases and verdicts: the queue that workers live from."""

import random
from typing import Annotated

import anyio
import anyio.to_thread
from fastapi import Query, Request, Response

from deltareg.api.app_state import state_of
from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.api.idempotency import once
from deltareg.api.waiting import FIRST_PAUSE_S, LONGEST_PAUSE_S, wait_until
from deltareg.errors import InvalidInput
from deltareg.refs import Ref
from deltareg.service.channels import waive as waivers
from deltareg.service.channels.auto_promote import promote_if_passed
from deltareg.service.push import proving, reencode, unreadable
from deltareg.service.runs import leases, prove_again
from deltareg.service.runs import runs as service
from deltareg.service.runs.kinds import verify
from deltareg.service.verdicts import signed, verdicts
from deltareg.streaming import is_in_vain
from deltareg.wire import (
    EnvelopeInfo,
    LeaseGrant,
    LeaseHold,
    LeaseRequest,
    Page,
    ProofReport,
    ReencodeReport,
    RunCreate,
    RunFailure,
    RunInfo,
    RunKindName,
    RunState,
    SignedReport,
    UploadInfo,
    VerdictInfo,
    VerdictReport,
    WaiverCreate,
)

router = closed_router("runs")


@router.get("/runs")
def list_runs(
    registry: InRegistry,
    by: By,
    state: RunState | None = None,
    ref: str | None = None,
    what: RunKindName | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[RunInfo]:
    """List runs, newest first."""
    of = None if ref is None else by.current_ref(Ref.parse(ref))
    return service.list_runs(registry, by, state=state, what=what, ref=of, cursor=cursor, limit=limit)


@router.post("/runs", response_model=RunInfo)
def queue_run(request: Request, registry: InRegistry, by: By, body: RunCreate) -> Response:
    """Queue a verification or a proof, or join the one under way."""
    queue = prove_again.queue_prove if body.what == "prove" else service.queue_run
    return once(request, registry, by, body, lambda: queue(registry, by, body))


@router.get("/runs/{run_id}")
async def show_run(
    request: Request,
    registry: InRegistry,
    by: By,
    run_id: str,
    wait: Annotated[float, Query(ge=0, le=60)] = 0,
    seen: RunState | None = None,
) -> RunInfo:
    """Show a run; with `wait`, answer when its state is not `seen` any more, or the time is up."""

    def look() -> RunInfo:
        return service.show_run(registry, by, run_id)

    return await wait_until(request, look, lambda run: run.state != seen, wait_s=wait)


@router.post("/runs/{run_id}:cancel")
def cancel_run(registry: InRegistry, by: By, run_id: str) -> RunInfo:
    """End a run that is queued or running."""
    return service.cancel_run(registry, by, run_id)


@router.post("/runs/{run_id}:rerun")
def rerun(registry: InRegistry, by: By, run_id: str) -> RunInfo:
    """Queue a verification once more."""
    return service.rerun(registry, by, run_id)


@router.post("/runs/{run_id}:complete")
def complete_run(registry: InRegistry, by: By, run_id: str, body: SignedReport | VerdictReport) -> VerdictInfo:
    """End a run with what the worker found and signed; one that is not signed is refused."""
    verdict = verify.complete_run(registry, by, run_id, body)
    signed_verdict = signed.said_by_enrolled(registry, verdict.id)
    if signed_verdict is not None:
        proving.prove_by_verdict(registry, by, run_id, signed_verdict)
    if verdict.verdict == "pass":
        promote_if_passed(registry, Ref.parse(verdict.ref).line)
    return verdict


@router.get("/runs/{run_id}/storage")
def storage_to_prove(registry: InRegistry, by: By, run_id: str) -> Response:
    """Give the storage map that a run is to prove, as its holder."""
    raw = proving.form_to_prove(registry, by, run_id)
    return Response(raw, media_type="application/json")


@router.post("/runs/{run_id}:prove")
def complete_proof(registry: InRegistry, by: By, run_id: str, body: ProofReport) -> RunInfo:
    """End a run that proves: what is stored is proven, or a lie."""
    return proving.complete_proof(registry, by, run_id, body)


@router.post("/runs/{run_id}:fail", status_code=204)
def fail_run(registry: InRegistry, by: By, run_id: str, body: RunFailure) -> None:
    """Give back a run that could not be carried out."""
    leases.fail_run(registry, by, run_id, body)
    if body.is_unreadable:
        unreadable.look_after_failure(registry, by, run_id)


@router.post("/runs/{run_id}:upload")
def open_reencode(registry: InRegistry, by: By, run_id: str, body: LeaseHold) -> UploadInfo:
    """Open an upload for the new form of a version, as the holder of its re-encode run."""
    if body.run != run_id:
        raise InvalidInput("the body names another run than the path")
    return reencode.open_reencode(registry, by, body)


@router.post("/runs/{run_id}:replace")
def complete_reencode(registry: InRegistry, by: By, run_id: str, body: ReencodeReport) -> RunInfo:
    """End a re-encode run: the version is stored as its upload brought it, or as before."""
    return reencode.complete_reencode(registry, by, run_id, body)


@router.post("/leases", response_model=LeaseGrant | None)
async def claim_lease(request: Request, registry: InRegistry, by: By, body: LeaseRequest) -> LeaseGrant | None:
    """Ask for work; with `wait_s`, the answer comes when there is some, or the time is up.

    The other asynchronous seam: a waiting worker holds no thread, so any number may wait.
    """

    def claim() -> LeaseGrant | None:
        return leases.claim_lease(registry, by, body, lease_s=state_of(request).lease_s)

    grant = await anyio.to_thread.run_sync(claim)
    deadline = anyio.current_time() + body.wait_s
    pause_s = FIRST_PAUSE_S
    while grant is None and anyio.current_time() < deadline:
        if await is_in_vain(request):  # nobody would hear of the lease, or not for long
            if not state_of(request).is_closing:
                await anyio.to_thread.run_sync(leases.lose_worker, registry, by, body.worker)
            return None
        left_s = deadline - anyio.current_time()
        # Jitter keeps workers that came together from asking together for ever.
        await anyio.sleep(min(pause_s * random.uniform(0.5, 1.5), max(left_s, 0)))  # noqa: S311
        pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)
        grant = await anyio.to_thread.run_sync(claim)
    return grant


@router.patch("/leases", status_code=204)
def hold_lease(request: Request, registry: InRegistry, by: By, body: LeaseHold) -> None:
    """Renew a lease, as its holder."""
    leases.hold_lease(registry, by, body, lease_s=state_of(request).lease_s)


@router.get("/verdicts")
def list_verdicts(
    registry: InRegistry,
    by: By,
    ref: str | None = None,
    suite: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[VerdictInfo]:
    """List verdicts, of one version or of all, newest first."""
    of = None if ref is None else by.current_ref(Ref.parse(ref))
    return verdicts.list_verdicts(registry, by, of, suite=suite, cursor=cursor, limit=limit)


@router.get("/verdicts/{verdict_id}")
def show_verdict(registry: InRegistry, by: By, verdict_id: str) -> VerdictInfo:
    """Show a verdict and what it is bound to."""
    return verdicts.show_verdict(registry, by, verdict_id)


@router.get("/verdicts/{verdict_id}/envelope")
def show_envelope(registry: InRegistry, by: By, verdict_id: str) -> EnvelopeInfo:
    """Give a verdict as its worker signed it: a DSSE envelope of an in-toto statement."""
    return verdicts.show_envelope(registry, by, verdict_id)


@router.post("/verdicts/{verdict_id}/waivers", response_model=VerdictInfo)
def waive(request: Request, registry: InRegistry, by: By, verdict_id: str, body: WaiverCreate) -> Response:
    """Waive a failed check of a verdict for a channel, until a time."""
    return once(request, registry, by, body, lambda: waivers.waive(registry, by, verdict_id, body))


@router.delete("/verdicts/{verdict_id}/waivers/{check}")
def unwaive(registry: InRegistry, by: By, verdict_id: str, check: str, channel: str | None = None) -> VerdictInfo:
    """End the waiver of a check before its time, for a channel or for all."""
    return waivers.unwaive(registry, by, verdict_id, check, channel=channel)


@router.post("/verdicts/{verdict_id}/continuations")
def continue_verdict(registry: InRegistry, by: By, verdict_id: str) -> RunInfo:
    """Queue what a waived verdict left out, or join the run that makes up for it."""
    return waivers.continue_verdict(registry, by, verdict_id)
