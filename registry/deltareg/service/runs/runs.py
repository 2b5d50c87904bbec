"""Runs: queue a verification or join the one under way; list, cancel, repeat."""

from collections.abc import Callable
from uuid import UUID, uuid4

import sqlalchemy as sa

from deltareg.db.access.grants import people_of
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.runs import runs as queries
from deltareg.db.runs.rows import ShownRunRow
from deltareg.db.session import read, with_retry
from deltareg.db.verdicts.outcomes import verdict_facts
from deltareg.errors import Conflict, Forbidden, InvalidInput
from deltareg.refs import Ref
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, SHARED, SOMEWHERE, Resource
from deltareg.service.describe import ref_of
from deltareg.service.events import Action
from deltareg.service.ledger.channel_policy import digest_of_policy
from deltareg.service.paging import check_limit, page, read_mark_cursor
from deltareg.service.priority import BACKGROUND, HIGH, priority_of
from deltareg.service.quotas.holding import refuse_spent
from deltareg.service.quotas.room import explain_room
from deltareg.service.registry import Caller, Registry, namespace_scope
from deltareg.service.resolve import find_channel, find_variant, find_version
from deltareg.service.runs import info
from deltareg.service.runs.cut_short import keep_findings
from deltareg.service.runs.eligible import leave_out
from deltareg.service.runs.ends import OUT_OF_TIME, UNMEASURED, code_of
from deltareg.service.runs.kinds import verify
from deltareg.service.runs.kinds.prove import ANEW
from deltareg.service.runs.second_look import SECOND_OF
from deltareg.service.verdicts.signed import LOCAL
from deltareg.service.verdicts.suites import find_suite
from deltareg.service.verdicts.verdicts import mark_of
from deltareg.suites.suite import Suite
from deltareg.wire import Page, RunCreate, RunInfo


def queue_run(registry: Registry, caller: Caller, request: RunCreate, *, new_id: Callable[[], UUID] = uuid4) -> RunInfo:
    """Queue a verification, join the one under way, or return the one that has already judged.

    Raises:
        NotFound: There is no such version or suite.
        Blocked: The version is deleted.
        OverQuota: This month's minutes of verification are used up.
    """
    require_queueing(caller, on=SOMEWHERE)
    ref = caller.current_ref(Ref.parse(request.ref))
    require_queueing(caller, on=ref.line)
    priority = priority_of(caller, request.priority, on=ref.line)

    def transaction(conn: sa.Connection) -> RunInfo:
        suite = find_suite(conn, request.suite)
        version = find_version(conn, caller, ref, bare="newest")
        policy = "" if request.channel is None else _policy(conn, caller, ref, request.channel)
        new_run_id = str(new_id())
        variant = None
        if request.variant:
            variant = find_variant(conn, caller, request.variant, base_id=version.base_id)
        run_id = verify.queue_verify(
            conn,
            caller,
            version,
            suite,
            again=request.again,
            labels=request.labels,
            priority=_behind_others(conn, version, suite, priority),
            channel=request.channel,
            policy_digest=policy,
            new_id=lambda: UUID(new_run_id),
            variant=variant,
            apart=_apart(conn, caller, request, version, suite),
            marks={ANEW: "yes"} if request.again else {},
        )
        if run_id == new_run_id:
            refuse_spent(conn, namespace_scope(version.namespace), caller.principal_id)
            after = {"version": ref_of(version), "suite": suite.name}
            after |= {"variant": request.variant} if request.variant else {}
            caller.record(conn, Action.RUN_QUEUE, f"run/{run_id}", on=ref.line, before=None, after=after)
        return describe_run(conn, caller, run_id)

    with explain_room(registry.engine):
        return with_retry(registry.engine, transaction)


def list_runs(
    registry: Registry,
    caller: Caller,
    *,
    state: str | None,
    what: str | None,
    ref: Ref | None,
    cursor: str | None,
    limit: int,
) -> Page[RunInfo]:
    """List runs, newest first: those of a version, or all that the caller may read."""
    caller.require(Right.READ, on=SHARED)
    if ref is not None:
        caller.require(Right.READ, on=ref.line)
    mark = read_mark_cursor(cursor)
    with read(registry.engine) as conn:
        version_id = None if ref is None else find_version(conn, caller, ref, bare="newest").id
        rows = queries.run_rows(
            conn,
            state=state,
            what=what,
            version_id=version_id,
            sight=caller.sight,
            before=mark,
            limit=check_limit(limit) + 1,
        )
        infos = info.describe_runs(conn, rows)
    return page(rows, limit, show=lambda row: infos[row.id], key=mark_of)


def show_run(registry: Registry, caller: Caller, run_id: str) -> RunInfo:
    """Show one run, with its verdict once there is one.

    Raises:
        NotFound: There is no run with that id.
    """
    caller.require(Right.READ, on=SHARED)
    with read(registry.engine) as conn:
        row = info.find_run(conn, caller, run_id)
        caller.require(Right.READ, on=info.concern_of(row))
        return info.describe_run(conn, row)


def cancel_run(registry: Registry, caller: Caller, run_id: str, *, new_id: Callable[[], UUID] = uuid4) -> RunInfo:
    """Cancel a queued or running run; its worker learns of it with its next heartbeat.

    What a verification had found by then stays, as an inconclusive verdict, if a check had failed.

    Raises:
        NotFound: There is no run with that id.
        Conflict: The run has ended already.
        Forbidden: Somebody else asked for the run, and the caller may neither verify nor maintain
            what it is about; or it is a second look, and the caller may not verify everything.
    """
    require_queueing(caller, on=SOMEWHERE)
    verdict_id = str(new_id())

    def transaction(conn: sa.Connection) -> RunInfo:
        row = info.find_run(conn, caller, run_id)
        require_queueing(caller, on=info.concern_of(row))
        if SECOND_OF in row.request:  # of whoever pushed it: they would choose who looks at it
            caller.require(Right.VERIFY, on=EVERYTHING)
        _require_own(conn, caller, row)
        error = f"cancelled by {caller.principal}"
        state = queries.cancel(conn, run_id, error=error)
        if state is None:
            raise Conflict(f"run {run_id} is {row.state}", fix="deltareg verify REF --again")
        after = {"state": "cancelled"}
        if row.what == verify.WHAT and keep_findings(conn, row, why=error, verdict_id=verdict_id):
            after |= {"verdict": "inconclusive", "verdict_id": verdict_id}
        caller.record(
            conn, Action.RUN_CANCEL, f"run/{run_id}", on=info.concern_of(row), before={"state": state}, after=after
        )
        return describe_run(conn, caller, run_id)

    return with_retry(registry.engine, transaction)


def rerun(registry: Registry, caller: Caller, run_id: str, *, new_id: Callable[[], UUID] = uuid4) -> RunInfo:
    """Queue a verification again, with the suite as it is now.

    Raises:
        NotFound: There is no run with that id.
        InvalidInput: The run is not a verification.
    """
    caller.require(Right.READ, on=SHARED)
    with read(registry.engine) as conn:
        row = info.find_run(conn, caller, run_id)
        caller.require(Right.READ, on=info.concern_of(row))
    if row.what != verify.WHAT:
        raise InvalidInput(f"run {run_id} is a {row.what}, only a verification is run again")
    request = RunCreate(
        ref=ref_of(row),
        suite=row.suite,
        again=True,
        labels=verify.own_labels(row.labels),
        variant=row.request.get("variant", ""),
    )
    return queue_run(registry, caller, request, new_id=new_id)


def describe_run(conn: sa.Connection, caller: Caller, run_id: str) -> RunInfo:
    """Describe one run.

    Raises:
        NotFound: There is no run with that id.
    """
    return info.describe_run(conn, info.find_run(conn, caller, run_id))


def require_queueing(caller: Caller, *, on: Resource) -> None:
    """Check that the caller may ask for runs: pushers and verifiers may.

    Raises:
        Forbidden: The caller is neither, or is a worker: workers take runs, but have no say in
            which there are.
    """
    if caller.is_worker:
        raise Forbidden(
            f"{caller.principal} is a worker, which takes runs and asks for none", fix="ask with the token of a user"
        )
    if not caller.may(Right.VERIFY, on=on):
        caller.require(Right.PUSH, on=on)


def _require_own(conn: sa.Connection, caller: Caller, run: ShownRunRow) -> None:
    """Check that a caller asked for a run, by whatever token, or answers for what it is about.

    Raises:
        Forbidden: It is somebody else's.
    """
    on = info.concern_of(run)
    if run.created_by == caller.principal_id or caller.may(Right.VERIFY, on=on) or caller.may(Right.MAINTAIN, on=on):
        return
    if run.created_by is not None:
        people = people_of(conn, [run.created_by, caller.principal_id], now=True)
        if people[run.created_by] & people[caller.principal_id]:
            return
    raise Forbidden(
        f"{run.maker or 'the registry'} asked for this run",
        fix=f"ask {run.maker or 'an admin'}, or a maintainer of the namespace, to cancel it",
    )


def _apart(
    conn: sa.Connection, caller: Caller, request: RunCreate, version: VersionRow, suite: Suite
) -> dict[str, str]:
    """Return which workers may take a requested run; empty if all may."""
    if request.local:
        return {LOCAL: str(caller.principal_id)}
    if not request.independent:
        return {}
    return leave_out(
        (row.keyid, row.host)
        for row in verdict_facts(conn, version.id)
        if row.suite_digest == str(suite.digest) and row.verdict == "pass" and row.signer
    )


def _behind_others(conn: sa.Connection, version: VersionRow, suite: Suite, priority: int) -> int:
    """Return the priority of a run that is asked for: behind all other work, if the last one ran out of time."""
    last = queries.newest_ended(conn, version.id, what=verify.WHAT, suite=suite.name)
    is_dear = last is not None and code_of(last.result) in {OUT_OF_TIME, UNMEASURED}
    return min(priority, BACKGROUND) if is_dear and priority < HIGH else priority


def _policy(conn: sa.Connection, caller: Caller, ref: Ref, channel: str) -> str:
    return digest_of_policy(find_channel(conn, caller, ref.line, channel))
