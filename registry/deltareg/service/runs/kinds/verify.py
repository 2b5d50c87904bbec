"""Runs that verify a version with a suite: each ends with a verdict, at least an inconclusive one.

A push, a rollback or a person queues one; it joins the one under way for the same purpose.
"""

from collections.abc import Callable, Mapping
from typing import Final
from uuid import UUID, uuid4

import sqlalchemy as sa

from deltareg.db.bases import bases as base_queries
from deltareg.db.bases.rows import BaseRow
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.runs import runs as queries
from deltareg.db.runs import runs_on_bases as waiting_queries
from deltareg.db.runs.held import ended_run
from deltareg.db.runs.rows import RunRow
from deltareg.db.session import with_retry
from deltareg.db.sql.row_protocols import present
from deltareg.db.verdicts import verdicts as verdict_queries
from deltareg.db.verdicts.rows import VerdictRow
from deltareg.digest import sha256_of
from deltareg.errors import Blocked, DeltaregError, InvalidInput, Unavailable
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.base_parts import with_identity
from deltareg.service.describe import ref_of
from deltareg.service.events import Action
from deltareg.service.labels import QUANTISED, tell_labels
from deltareg.service.ledger.incumbent import incumbent_request
from deltareg.service.ledger.references import reference_request
from deltareg.service.ledger.references_document import digests_of
from deltareg.service.lines.cards import keep_metrics
from deltareg.service.priority import LOW, NORMAL
from deltareg.service.quotas.holding import is_spent
from deltareg.service.registry import Caller, Registry, namespace_scope
from deltareg.service.runs.cut_short import found_so_far, keep_earlier_attempts, keep_late
from deltareg.service.runs.ends import code_of
from deltareg.service.runs.info import concern_of_run
from deltareg.service.runs.kinds.kind import RunKind
from deltareg.service.runs.knowledge import require_known
from deltareg.service.runs.lost_lease import lease_lost
from deltareg.service.runs.second_look import queue_second_look, settle_second_look
from deltareg.service.runs.served_failure import tell_served_failure
from deltareg.service.runs.superseding import BY_PUSH, is_kept, supersede_older
from deltareg.service.runs.third_run import queue_third_run
from deltareg.service.runs.waiting import note_waiting
from deltareg.service.verdicts.facts import why_uncounted
from deltareg.service.verdicts.signed import open_verdict
from deltareg.service.verdicts.suites import find_suite
from deltareg.service.verdicts.verdicts import describe_verdict, record_inconclusive, record_verdict
from deltareg.suites.suite import DEFAULT_SUITE, Suite, built_in
from deltareg.wire import SignedReport, VerdictInfo, VerdictReport

WHAT: Final = "verify"
ON_CHANNEL: Final = "channel"
"""Of a run's request: the channel that it was asked for, if it was for one."""
_TRIES = 10


def queue_default_suite(
    conn: sa.Connection,
    caller: Caller,
    version: VersionRow,
    *,
    again: bool = False,
    priority: int = NORMAL,
    new_id: Callable[[], UUID] = uuid4,
) -> str:
    """Queue the default suite in the transaction of a push or a rollback; return the run id.

    Without `again`, an existing verdict of the current suite is enough.
    """
    suite = built_in(DEFAULT_SUITE)
    return queue_verify(conn, caller, version, suite, again=again, labels={}, priority=priority, new_id=new_id)


def queue_of_push(conn: sa.Connection, caller: Caller, version: VersionRow) -> str | None:
    """Queue the default suite for a new version, in place of waiting runs of its predecessors.

    Those are the runs that earlier pushes queued, nobody asked for, and no worker has begun. Once
    this month's minutes of verification are used up, nothing is queued, and it returns None.
    """
    if is_spent(conn, namespace_scope(version.namespace), caller.principal_id):
        return None
    suite = built_in(DEFAULT_SUITE)
    run_id = _queue_or_join(
        conn, caller, version, suite, again=False, labels={}, priority=NORMAL, new_id=uuid4, marks=BY_PUSH
    )
    supersede_older(conn, caller, version, what=WHAT)
    return run_id


def complete_run(
    registry: Registry,
    caller: Caller,
    run_id: str,
    report: SignedReport | VerdictReport,
    *,
    new_id: Callable[[], UUID] = uuid4,
) -> VerdictInfo:
    """End a run with the signed report of its worker; the same report gets the same verdict.

    Raises:
        BadSignature: The report is not signed by the worker that holds the run, or is about
            something else.
        Unavailable: A server of a later release has to end it.
        LeaseLost: The run was given to another worker or cancelled; the report does not count.
        InvalidInput: Another suite was run, the checks do not show the pass that is claimed, or the
            report is not signed.
    """
    caller.require(Right.VERIFY, on=EVERYTHING)
    if not isinstance(report, SignedReport):
        raise InvalidInput(
            "the report is not signed, and anybody could have written it",
            fix="install the server's release where the worker runs: deltareg version",
        )
    envelope = report.envelope.encode()
    verdict_id = str(new_id())
    own = queries.RunClaim(run_id, report.fence, caller.principal_id)

    def transaction(conn: sa.Connection) -> VerdictInfo | DeltaregError:
        run = queries.finish(conn, own, state="done")
        if run is not None and run.what != WHAT:
            raise InvalidInput(f"run {run_id} is a {run.what}, it has no verdict")
        if run is None:
            return _keep_late_report(conn, own, envelope) or _answered_before(conn, own)
        require_known(conn, run)
        signed = open_verdict(conn, run, envelope, principal_id=caller.principal_id)
        verdict_report, by = signed.said.report(), caller.principal_id
        if verdict_report.verdict != "fail":
            keep_earlier_attempts(conn, run, new_id=new_id)
        record_verdict(conn, run, verdict_report, verdict_id=verdict_id, created_by=by)
        signed.keep(conn, verdict_id)
        keep_metrics(conn, present(run.version_id))
        after = {
            "state": "done",
            "verdict": verdict_report.verdict,
            "verdict_id": verdict_id,
            "keyid": signed.keyid,
            "envelope": str(sha256_of(envelope)),
        }
        caller.record(
            conn,
            Action.RUN_COMPLETE,
            f"run/{run_id}",
            on=concern_of_run(conn, run),
            before={"state": "running"},
            after=after,
        )
        queue_second_look(conn, run, signed, verdict_id=verdict_id, share=registry.recheck_share, new_id=new_id)
        settle_second_look(conn, caller, run, _verdict(conn, run_id))
        found_row = _verdict(conn, run_id)
        queue_third_run(conn, caller, run, found_row, new_id=new_id)
        tell_served_failure(conn, caller, found_row)
        return describe_verdict(found_row)

    answer = with_retry(registry.engine, transaction)
    if isinstance(answer, DeltaregError):
        raise answer
    return answer


def verify_where_base_was_missed(
    conn: sa.Connection, caller: Caller, base_id: int, *, new_id: Callable[[], UUID] = uuid4
) -> None:
    """Queue the verifications that failed for want of a base, now that the base is stored.

    A run under way may be on its last attempt without the base: it gets as many attempts as a new
    one. A dead run is queued again with the current suite, unless there has been a verdict since.
    """
    died: dict[tuple[int, str, str], str] = {}
    waiting = [
        *[run for run in waiting_queries.verifies_on_base(conn, base_id) if "base_root" not in run.request],
        *waiting_queries.verifies_on_variant(conn, base_id),
    ]
    for run in waiting:
        if run.state == "dead":
            died[run.version_id, run.suite, run.request.get("variant", "")] = run.id
        else:
            queries.renew_attempts(conn, run.id)
    versions = version_queries.versions_by_ids(conn, sorted({version for version, _, _ in died}))
    for (version_id, suite, name), run_id in died.items():
        variant = base_queries.base_rows(conn, base_id=base_id, limit=1)[0] if name else None
        newest = verdict_queries.newest_verdict(
            conn, version_id, suite=suite, base_root=None if variant is None else variant.root
        )
        if newest is None or newest.run_id == run_id:
            queue_verify(
                conn,
                caller,
                versions[version_id],
                find_suite(conn, suite),
                again=True,
                labels={},
                priority=LOW,
                new_id=new_id,
                variant=variant,
            )


def queue_verify(
    conn: sa.Connection,
    caller: Caller,
    version: VersionRow,
    suite: Suite,
    *,
    again: bool,
    labels: Mapping[str, str],
    policy_digest: str = "",
    priority: int,
    new_id: Callable[[], UUID],
    channel: str | None = None,
    variant: BaseRow | None = None,
    apart: Mapping[str, str] | None = None,
    marks: Mapping[str, str] | None = None,
) -> str:
    """Queue a verification in the caller's transaction; return its run id.

    Without `again` and labels it joins the run under way, or returns the one that has already
    judged. On a variant of the version's base, nothing is compared with what a channel serves. With
    `apart`, not every worker may take it (`runs.eligible`), so it joins no run that any worker may
    take. `marks` are stored with a new run.

    If it joins a run that a push queued, that run belongs to the asker from then on, and no later
    push ends it.

    Raises:
        Blocked: The version is deleted.
        Unavailable: The run that it would join is superseded again and again.
    """
    for _ in range(_TRIES):
        run_id = _queue_or_join(
            conn,
            caller,
            version,
            suite,
            again=again,
            labels=labels,
            policy_digest=policy_digest,
            priority=priority,
            new_id=new_id,
            channel=channel,
            variant=variant,
            apart=apart,
            marks=marks,
        )
        if is_kept(conn, run_id):
            return run_id
    raise Unavailable(f"runs of {ref_of(version)} come and go", fix="try again")


def _queue_or_join(
    conn: sa.Connection,
    caller: Caller,
    version: VersionRow,
    suite: Suite,
    *,
    again: bool,
    labels: Mapping[str, str],
    priority: int,
    new_id: Callable[[], UUID],
    policy_digest: str = "",
    channel: str | None = None,
    variant: BaseRow | None = None,
    apart: Mapping[str, str] | None = None,
    marks: Mapping[str, str] | None = None,
) -> str:
    if version.deleted_at is not None:
        raise Blocked(f"{ref_of(version)} is deleted", fix="verify another version")
    digest = str(suite.digest)
    request = (
        incumbent_request(conn, version, suite, channel=channel)
        | reference_request(conn, version, suite, channel=channel)
        if variant is None
        else _on_variant(conn, variant)
    )
    compared_with, on = request.get("promoted_digest", ""), request.get("base_root", "")
    held = _tell_held(request)
    if not again and not labels and not apart:  # who names a worker wants it done there
        newest = verdict_queries.newest_verdict(
            conn,
            version.id,
            suite=suite.name,
            suite_digest=digest,
            compared_with=compared_with,
            base_root=request.get("base_root"),
        )
        if newest is not None and _is_as_good(conn, newest, request, policy_digest=policy_digest):
            return str(newest.run_id)
        if policy_digest:  # one that was asked for no channel will say as much
            joined = queries.join(conn, _key(version, digest, compared_with, held, on), priority=priority)
            if joined is not None:
                return joined
    particulars = (tell_labels(labels), tell_labels(apart or {}))
    key = _key(version, digest, compared_with, held, on, policy_digest, *particulars)
    if variant is not None and variant.scheme is not None:
        labels = {**labels, QUANTISED: variant.scheme}
    return queries.enqueue(
        conn,
        run_id=str(new_id()),
        what=WHAT,
        priority=priority,
        dedup_key=key,
        version_id=version.id,
        suite=suite.name,
        labels=labels,
        created_by=caller.principal_id or None,  # the registry itself is nobody
        request={
            "suite_digest": digest,
            "policy_digest": policy_digest,
            **request,
            **(apart or {}),
            **(marks or {}),
            **({} if channel is None else {ON_CHANNEL: channel}),
        },
    )


def _on_variant(conn: sa.Connection, variant: BaseRow) -> dict[str, str]:
    noted = with_identity(conn, variant)
    request = {"variant": variant.name, "base_root": variant.root}
    return request if noted.identity is None else {**request, "base_identity": noted.identity}


def own_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels that somebody asked for, without the one that a variant adds."""
    return {name: value for name, value in labels.items() if name != QUANTISED}


def _key(version: VersionRow, suite_digest: str, *particulars: str) -> str:
    return ":".join((WHAT, str(version.id), suite_digest, *filter(None, particulars)))


def _is_as_good(conn: sa.Connection, verdict: VerdictRow, request: Mapping[str, str], *, policy_digest: str) -> bool:
    """Whether an existing verdict says what a new one would."""
    is_of_policy = verdict.policy_digest in {"", policy_digest}
    if verdict.verdict == "inconclusive" or not is_of_policy or why_uncounted(verdict):
        return False
    made = queries.run_row(conn, verdict.run_id)
    return made is None or digests_of(made.request) == digests_of(request)


def _tell_held(request: Mapping[str, str]) -> str:
    """Return what a version is to be held against beside the promoted one, for the key of its run."""
    digests = digests_of(request)
    return sha256_of(repr(sorted(digests.items())).encode()).hex[:16] if digests else ""


def _record_death(conn: sa.Connection, run: RunRow, *, outcome_id: str, created_by: int | None) -> None:
    waits = note_waiting(conn, run)
    others = found_so_far(conn, run.id) + ([] if waits is None else [waits])
    record_inconclusive(
        conn,
        run,
        present(run.error),
        verdict_id=outcome_id,
        created_by=created_by,
        code=code_of(run.result),
        others=others,
    )


KIND = RunKind(WHAT, on_base=verify_where_base_was_missed, on_death=_record_death)


def _keep_late_report(conn: sa.Connection, own: queries.RunClaim, envelope: bytes) -> DeltaregError | None:
    """Keep what a report found to its run that has just been ended, and return the refusal; None if it is no such."""
    run = ended_run(conn, own)
    if run is None or run.what != WHAT:
        return None
    signed = open_verdict(conn, run, envelope, principal_id=own.principal_id)
    keep_late(conn, own, signed.said.report().checks)
    return lease_lost(conn, own)


def _answered_before(conn: sa.Connection, own: queries.RunClaim) -> VerdictInfo:
    """Return the verdict of this worker's first report, whose answer may have been lost."""
    run = queries.run_row(conn, own.run_id)
    verdict = verdict_queries.verdicts_of_runs(conn, [own.run_id]).get(own.run_id)
    is_same = run is not None and run.state == "done" and run.fence == own.fence
    if verdict is None or not is_same or verdict.created_by != own.principal_id:
        raise lease_lost(conn, own)
    return describe_verdict(verdict)


def _verdict(conn: sa.Connection, run_id: str) -> VerdictRow:
    return verdict_queries.verdicts_of_runs(conn, [run_id])[run_id]
