"""Runs: queueing a verification, or joining the one under way; listing, cancelling, repeating."""

from collections.abc import Callable, Mapping
from uuid import UUID, uuid4

import sqlalchemy as sa

from deltareg.db.queries import runs as queries
from deltareg.db.queries import verdicts as verdict_queries
from deltareg.db.queries import versions as version_queries
from deltareg.db.rows import Row
from deltareg.db.session import read, with_retry
from deltareg.errors import Blocked, Conflict, InvalidInput
from deltareg.refs import Ref
from deltareg.service.describe import ref_of
from deltareg.service.labels import tell_labels
from deltareg.service.ledger.channel_policy import digest_of_policy
from deltareg.service.ledger.incumbent import incumbent_request
from deltareg.service.paging import check_limit, page, read_mark_cursor
from deltareg.service.priority import LOW, NORMAL, priority_of
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_channel, find_line, find_version
from deltareg.service.runs import info
from deltareg.service.verdicts.facts import why_uncounted
from deltareg.service.verdicts.suites import find_suite
from deltareg.service.verdicts.verdicts import mark_of
from deltareg.suites.suite import DEFAULT_SUITE, Suite, built_in
from deltareg.wire import Page, RunCreate, RunInfo


def queue_default_suite(
    conn: sa.Connection,
    caller: Caller,
    version: Row,
    *,
    again: bool = False,
    priority: int = NORMAL,
    new_id: Callable[[], UUID] = uuid4,
) -> str:
    """Queue the default suite in the transaction of a push or a rollback; give the run's id.

    Without `again`, a verdict of the suite as it is now is as good as a run.
    """
    suite = built_in(DEFAULT_SUITE)
    return _queue_verify(
        conn, caller, version, suite, again=again, labels={}, priority=priority, new_id=new_id
    )


def queue_run(
    registry: Registry, caller: Caller, request: RunCreate, *, new_id: Callable[[], UUID] = uuid4
) -> RunInfo:
    """Queue a verification, join the one under way, or give the one that has judged already.

    Raises:
        NotFound: No such version or suite.
        Blocked: The version is deleted.
    """
    _require_queueing(caller)
    priority = priority_of(caller, request.priority)

    def transaction(conn: sa.Connection) -> RunInfo:
        suite = find_suite(conn, request.suite)
        ref = Ref.parse(request.ref)
        version = find_version(conn, ref, bare="newest")
        policy = "" if request.channel is None else _policy_digest(conn, ref, request.channel)
        wanted = str(new_id())
        run_id = _queue_verify(
            conn, caller, version, suite, again=request.again, labels=request.labels,
            priority=priority, channel=request.channel, policy_digest=policy,
            new_id=lambda: UUID(wanted),
        )  # fmt: skip
        if run_id == wanted:
            after = {"version": ref_of(version), "suite": suite.name}
            caller.record(conn, "run.queue", f"run/{run_id}", before=None, after=after)
        return describe_run(conn, run_id)

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
    """List runs, newest first."""
    caller.require("read")
    mark = read_mark_cursor(cursor)
    with read(registry.engine) as conn:
        version_id = None if ref is None else find_version(conn, ref, bare="newest").id
        rows = queries.run_rows(
            conn, state=state, what=what, version_id=version_id, before=mark,
            limit=check_limit(limit) + 1,
        )  # fmt: skip
        shown = info.describe_runs(conn, rows)
    return page(rows, limit, show=lambda row: shown[row.id], key=mark_of)


def show_run(registry: Registry, caller: Caller, run_id: str) -> RunInfo:
    """Show one run, with its verdict once there is one.

    Raises:
        NotFound: There is none of that id.
    """
    caller.require("read")
    with read(registry.engine) as conn:
        return describe_run(conn, run_id)


def cancel_run(registry: Registry, caller: Caller, run_id: str) -> RunInfo:
    """End a run that is queued or running; its worker learns of it with its next heartbeat.

    Raises:
        NotFound: There is none of that id.
        Conflict: It has ended already.
    """
    _require_queueing(caller)

    def transaction(conn: sa.Connection) -> RunInfo:
        row = info.find_run(conn, run_id)
        state = queries.cancel(conn, run_id, error=f"cancelled by {caller.principal}")
        if state is None:
            raise Conflict(f"run {run_id} is {row.state}", fix="deltareg verify REF --again")
        after = {"state": "cancelled"}
        caller.record(conn, "run.cancel", f"run/{run_id}", before={"state": state}, after=after)
        return describe_run(conn, run_id)

    return with_retry(registry.engine, transaction)


def rerun(
    registry: Registry, caller: Caller, run_id: str, *, new_id: Callable[[], UUID] = uuid4
) -> RunInfo:
    """Queue a verification once more, with the suite as it is now.

    Raises:
        NotFound: There is no run of that id.
        InvalidInput: It is not a verification.
    """
    caller.require("read")
    with read(registry.engine) as conn:
        row = info.find_run(conn, run_id)
    if row.what != "verify":
        raise InvalidInput(f"run {run_id} is a {row.what}, only a verification is run again")
    request = RunCreate(ref=ref_of(row), suite=row.suite, again=True, labels=row.labels)
    return queue_run(registry, caller, request, new_id=new_id)


def describe_run(conn: sa.Connection, run_id: str) -> RunInfo:
    """Show one run.

    Raises:
        NotFound: There is none of that id.
    """
    return info.describe_run(conn, info.find_run(conn, run_id))


def verify_where_base_was_missed(
    conn: sa.Connection, caller: Caller, base_id: int, *, new_id: Callable[[], UUID] = uuid4
) -> None:
    """Queue what could not be verified, now that the base is stored.

    A run under way may have had its last attempt without the base: it gets as many as a new one.
    One that died is queued again, with the suite as it is now, unless there is a verdict since.
    """
    died: dict[tuple[int, str], str] = {}
    for run in queries.verifies_on_base(conn, base_id):
        if run.state == "dead":
            died[run.version_id, run.suite] = run.id
        else:
            queries.renew_attempts(conn, run.id)
    found = version_queries.versions_by_ids(conn, sorted({version for version, _ in died}))
    for (version_id, suite), run_id in died.items():
        newest = verdict_queries.newest_verdict(conn, version_id, suite=suite)
        if newest is None or newest.run_id == run_id:
            _queue_verify(
                conn, caller, found[version_id], find_suite(conn, suite), again=True, labels={},
                priority=LOW, new_id=new_id,
            )  # fmt: skip


def _queue_verify(
    conn: sa.Connection,
    caller: Caller,
    version: Row,
    suite: Suite,
    *,
    again: bool,
    labels: Mapping[str, str],
    policy_digest: str = "",
    priority: int,
    new_id: Callable[[], UUID],
    channel: str | None = None,
) -> str:
    if version.deleted_at is not None:
        raise Blocked(f"{ref_of(version)} is deleted", fix="verify another version")
    digest = str(suite.digest)
    promoted = incumbent_request(conn, version, suite, channel=channel)
    compared_with = promoted.get("promoted_digest", "")
    if not again and not labels:  # who names a worker wants it done there
        known = verdict_queries.newest_verdict(
            conn, version.id, suite=suite.name, suite_digest=digest, compared_with=compared_with
        )
        if known is not None and _is_as_good(known, policy_digest=policy_digest):
            return str(known.run_id)
        if policy_digest:  # one that was asked for no channel will say as much
            joined = queries.join(
                conn, _key(version, digest, compared_with), version_id=version.id, priority=priority
            )
            if joined is not None:
                return joined
    key = _key(version, digest, compared_with, policy_digest, tell_labels(labels))
    return queries.enqueue(
        conn, run_id=str(new_id()), what="verify", priority=priority, dedup_key=key,
        version_id=version.id, suite=suite.name, labels=labels, created_by=caller.principal_id,
        request={"suite_digest": digest, "policy_digest": policy_digest, **promoted},
    )  # fmt: skip


def _key(version: Row, suite_digest: str, *particulars: str) -> str:
    return ":".join(("verify", str(version.id), suite_digest, *filter(None, particulars)))


def _is_as_good(verdict: Row, *, policy_digest: str) -> bool:
    """Whether a verdict that is there says what a new one would."""
    is_of_policy = verdict.policy_digest in {"", policy_digest}
    is_counted = not why_uncounted(verdict)
    return verdict.verdict != "inconclusive" and is_of_policy and is_counted


def _policy_digest(conn: sa.Connection, ref: Ref, channel: str) -> str:
    return digest_of_policy(find_channel(conn, find_line(conn, ref.line), ref.line, channel))


def _require_queueing(caller: Caller) -> None:
    # Whoever may push makes runs by pushing; whoever verifies may ask for another one.
    if "verify" not in caller.scopes:
        caller.require("push")
