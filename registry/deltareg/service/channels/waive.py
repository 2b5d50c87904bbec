"""Waiving: a person accepts a failed check on one channel, for a time, with a reason.

It needs the right to promote, and a person other than the one who pushed the version. A check that
proves bytes or a computation to be other than claimed cannot be waived. The verdict itself does not
change; wherever it is shown, so is the waiver: by whom, where, why and until when. The checks that
were skipped after the failed one run in a continuation, whose verdict decides.
"""

from collections.abc import Callable
from uuid import UUID, uuid4

import sqlalchemy as sa

from deltareg.db.access.grants import same_person
from deltareg.db.channels import channels as channel_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.session import with_retry
from deltareg.db.sql.clock import US_PER_S, read_clock
from deltareg.db.verdicts import waivers as queries
from deltareg.db.verdicts.rows import VerdictRow
from deltareg.errors import Conflict, Forbidden, InvalidInput, NotFound
from deltareg.gate.verdict_facts import NEVER_WAIVED
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import SOMEWHERE
from deltareg.service.clock import parse_time, rfc3339, rfc3339_seconds
from deltareg.service.describe import line_of, ref_of
from deltareg.service.events import Action
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_channel
from deltareg.service.runs.continuations import queue_continuation
from deltareg.service.runs.runs import describe_run
from deltareg.service.verdicts.facts import is_undecided
from deltareg.service.verdicts.suites import suite_of
from deltareg.service.verdicts.verdicts import describe_verdict
from deltareg.service.verdicts.waivers import describe_waivers, find_verdict, standing_waivers
from deltareg.wire import RunInfo, VerdictInfo, WaiverCreate

_MOST_DAYS = 366


def waive(
    registry: Registry, caller: Caller, verdict_id: str, request: WaiverCreate, *, new_id: Callable[[], UUID] = uuid4
) -> VerdictInfo:
    """Waive a failed check of a verdict on a channel until a time; return the verdict.

    Once every failed check is waived, the skipped checks are queued.

    Raises:
        NotFound: There is no such verdict, check or channel.
        InvalidInput: The check did not fail or cannot be waived, or the time lies in the past.
        Forbidden: The caller pushed the version, or is a script.
        Conflict: The check is waived already.
    """
    caller.require(Right.PROMOTE, on=SOMEWHERE)
    waiver_id = str(new_id())

    def transaction(conn: sa.Connection) -> VerdictInfo:
        verdict = find_verdict(conn, caller, verdict_id)
        line = line_of(verdict)
        caller.require(Right.PROMOTE, on=line)
        refuse_own(conn, caller, verdict)
        refuse_check(verdict, request.check, kind=kind_of_check(conn, verdict, request.check))
        channel_id = _channel(conn, caller, verdict, request.channel)
        queries.hold_waivers(conn, verdict.version_id)
        _refuse_again(conn, verdict, request, channel_id)
        expires_at = _end(conn, request)
        waiver = queries.WaiverRecord(
            verdict_id, request.check, request.reason, expires_at, caller.principal_id, channel_id
        )
        queries.add_waiver(conn, waiver_id, waiver)
        after = {
            "version": ref_of(verdict),
            "check": request.check,
            "channel": request.channel,
            "reason": request.reason,
            "expires_at": rfc3339(expires_at),
        }
        caller.record(conn, Action.VERDICT_WAIVE, f"verdict/{verdict_id}", on=line, before=None, after=after)
        if _is_owed(conn, verdict, channel_id):
            queue_continuation(conn, caller, verdict, new_id=new_id)
        return _show(conn, caller, verdict_id)

    return with_retry(registry.engine, transaction)


def unwaive(
    registry: Registry, caller: Caller, verdict_id: str, check: str, *, channel: str | None = None
) -> VerdictInfo:
    """End the waiver of a check early, on one channel or on all; return the verdict.

    If a continuation took the waiver over, it ends there as well.

    Raises:
        NotFound: There is no such verdict, or the check is not waived.
    """
    caller.require(Right.PROMOTE, on=SOMEWHERE)

    def transaction(conn: sa.Connection) -> VerdictInfo:
        verdict = find_verdict(conn, caller, verdict_id)
        caller.require(Right.PROMOTE, on=line_of(verdict))
        queries.hold_waivers(conn, verdict.version_id)
        run_ids = queries.end_waivers(
            conn, verdict_id, check_name=check, channel=channel, revoked_by=caller.principal_id
        )
        if not run_ids:
            where = "" if channel is None else f" for {channel[:60]}"
            raise NotFound(
                f"{check[:60]} of {verdict_id} is not waived{where}", fix=f"deltareg verdict show {verdict_id}"
            )
        before = {"version": ref_of(verdict), "check": check, "waivers": list(run_ids)}
        caller.record(
            conn, Action.VERDICT_UNWAIVE, f"verdict/{verdict_id}", on=line_of(verdict), before=before, after=None
        )
        return _show(conn, caller, verdict_id)

    return with_retry(registry.engine, transaction)


def continue_verdict(
    registry: Registry, caller: Caller, verdict_id: str, *, new_id: Callable[[], UUID] = uuid4
) -> RunInfo:
    """Queue the checks that a waived verdict skipped, again where an earlier run was inconclusive.

    Raises:
        NotFound: There is no such verdict.
        Conflict: The verdict skipped nothing, a failed check in it is waived on no channel, or it
            does not count any more.
    """
    caller.require(Right.PROMOTE, on=SOMEWHERE)

    def transaction(conn: sa.Connection) -> RunInfo:
        verdict = find_verdict(conn, caller, verdict_id)
        caller.require(Right.PROMOTE, on=line_of(verdict))
        if verdict.verdict != "fail" or verdict.is_complete:
            raise Conflict(f"verdict {verdict_id} left nothing out", fix="nothing to do")
        standing = _list_unanswered(conn, verdict, None)
        if standing:
            raise Conflict(
                f"{', '.join(standing)} of {verdict_id} failed, and nobody answers for it",
                fix=f"deltareg verdict waive {verdict_id} --check {standing[0]} --channel NAME -m REASON",
            )
        return describe_run(conn, caller, queue_continuation(conn, caller, verdict, new_id=new_id))

    return with_retry(registry.engine, transaction)


def _is_owed(conn: sa.Connection, verdict: VerdictRow, channel_id: int) -> bool:
    """Whether a verdict skipped checks and all its failed checks are waived now."""
    return not verdict.is_complete and not _list_unanswered(conn, verdict, channel_id)


def _list_unanswered(conn: sa.Connection, verdict: VerdictRow, channel_id: int | None) -> list[str]:
    waived = standing_waivers(conn, [verdict.id], channel_id=channel_id).get(verdict.id, {})
    return [name for name in _list_failed(verdict) if name not in waived]


def _list_failed(verdict: VerdictRow) -> list[str]:
    return [str(check["name"]) for check in verdict.checks if check["verdict"] == "fail"]


def _channel(conn: sa.Connection, caller: Caller, verdict: VerdictRow, name: str) -> int:
    """Return the id of the channel that a waiver names; it must name one."""
    line = line_of(verdict)
    if name:
        return find_channel(conn, caller, line, name).id
    delta_id = version_queries.version_by_id(conn, verdict.version_id).delta_id
    names = ", ".join(row.name for row in channel_queries.channel_rows(conn, delta_id))
    raise InvalidInput(
        "a waiver says for which channel it is",
        fix=f"name it: --channel NAME (of {line}: {names or 'none yet'}); clients before this release cannot",
    )


def _show(conn: sa.Connection, caller: Caller, verdict_id: str) -> VerdictInfo:
    waivers = describe_waivers(conn, [verdict_id]).get(verdict_id, [])
    return describe_verdict(find_verdict(conn, caller, verdict_id), waivers)


def refuse_own(conn: sa.Connection, caller: Caller, verdict: VerdictRow) -> None:
    """Refuse to waive checks of a version that the caller pushed, or as a script.

    Raises:
        Forbidden: The caller pushed it, or is a script.
    """
    caller.require_person("a waiver")
    version = version_queries.version_by_id(conn, verdict.version_id)
    # By person, not by token: a second token of the same person is the same person.
    if same_person(conn, [version.created_by or 0], acts=caller.principal_id):
        raise Forbidden(
            f"{caller.principal} pushed {ref_of(version)} and cannot waive its checks",
            fix="ask somebody else who may promote",
        )


def _refuse_again(conn: sa.Connection, verdict: VerdictRow, request: WaiverCreate, channel_id: int) -> None:
    waived = standing_waivers(conn, [verdict.id], channel_id=channel_id).get(verdict.id, {})
    if request.check in waived:
        raise Conflict(
            f"{request.check} of {verdict.id} is waived already, {waived[request.check]}",
            fix=f"end that one: deltareg verdict unwaive {verdict.id} --check {request.check}",
        )


def refuse_check(verdict: VerdictRow, check: str, *, kind: str) -> None:
    """Refuse to waive a check that did not fail and is decided, or one that may never be waived.

    Args:
        verdict: The verdict.
        check: The name of its result.
        kind: The kind of the check, from `kind_of_check`.

    Raises:
        InvalidInput: The check did not fail, or may never be waived.
        NotFound: The verdict has no such check.
    """
    outcomes = {str(result["name"]): result["verdict"] for result in verdict.checks}
    failed = [name for name, outcome in outcomes.items() if outcome == "fail"]
    undecided = [str(result["name"]) for result in verdict.checks if is_undecided(result)]
    if {check, kind} & NEVER_WAIVED:
        raise InvalidInput(
            f"{check} is never waived: it shows that something is not what it claims to be",
            fix="push a version that passes it",
        )
    if check not in outcomes:
        names = ", ".join(outcomes) or "none"
        raise NotFound(f"verdict {verdict.id} has no check {check[:60]!r}", fix=f"checks: {names}")
    if (check not in failed or verdict.verdict != "fail") and check not in undecided:
        raise InvalidInput(
            f"{check} did not fail in a verdict that is fail: it is {outcomes[check]}, the verdict {verdict.verdict}",
            fix=f"failed or undecided: {', '.join([*failed, *undecided]) or 'none'}",
        )


def kind_of_check(conn: sa.Connection, verdict: VerdictRow, name: str) -> str:
    """Return the kind of check behind a result: a suite may give it another name."""
    try:
        suite = suite_of(conn, verdict.suite, verdict.suite_digest)
    except NotFound:  # a built-in suite of another release, whose results have the checks' names
        return name
    return next((spec.check for spec in suite.checks if spec.name == name), name)


def _end(conn: sa.Connection, request: WaiverCreate) -> int:
    now = read_clock(conn)
    if request.expires_at is None:
        end = now + request.expires_in_s * US_PER_S
    else:
        end = parse_time(request.expires_at)
    if not now < end <= now + _MOST_DAYS * 86_400 * US_PER_S:
        raise InvalidInput(
            f"a waiver ends within {_MOST_DAYS} days, not at {rfc3339_seconds(end)}",
            fix="write --expires 30d, or a time to come",
        )
    return end
