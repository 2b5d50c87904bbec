"""Waiving: a person answers, for a while and with a reason, for a check that failed.

It takes the right to promote and another person than the one who pushed the version. A check that
finds bytes or a computation to be other than they claim cannot be waived. The verdict stays what it
is, and says wherever it is shown that it is waived, by whom, why and until when.
"""

from collections.abc import Callable
from uuid import UUID, uuid4

import sqlalchemy as sa

from deltareg.db.clock import US_PER_S, read_clock
from deltareg.db.queries import versions as version_queries
from deltareg.db.queries import waivers as queries
from deltareg.db.queries.grants import people_of
from deltareg.db.rows import VerdictRow
from deltareg.db.session import with_retry
from deltareg.errors import Conflict, Forbidden, InvalidInput, NotFound
from deltareg.gate.verdict_rules import NEVER_WAIVED
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import SOMEWHERE
from deltareg.service.clock import parse_time, rfc3339, rfc3339_seconds
from deltareg.service.describe import line_of, ref_of
from deltareg.service.events import Action
from deltareg.service.registry import Caller, Registry
from deltareg.service.verdicts.suites import suite_of
from deltareg.service.verdicts.verdicts import describe_verdict
from deltareg.service.verdicts.waivers import describe_waivers, find_verdict, standing_waivers
from deltareg.wire import VerdictInfo, WaiverCreate

_MOST_DAYS = 366


def waive(
    registry: Registry,
    caller: Caller,
    verdict_id: str,
    request: WaiverCreate,
    *,
    new_id: Callable[[], UUID] = uuid4,
) -> VerdictInfo:
    """Waive a failed check of a verdict until a time; give the verdict.

    Raises:
        NotFound: No such verdict, or no such check in it.
        InvalidInput: The check did not fail or is never waived, or the time is not one to come.
        Forbidden: The caller pushed the version.
        Conflict: The check is waived already.
    """
    caller.require(Right.PROMOTE, on=SOMEWHERE)
    waiver_id = str(new_id())

    def transaction(conn: sa.Connection) -> VerdictInfo:
        verdict = find_verdict(conn, caller, verdict_id)
        caller.require(Right.PROMOTE, on=line_of(verdict))
        _refuse_own(conn, caller, verdict)
        kind = _kind_of_check(conn, verdict, request.check)
        _refuse_check(verdict, request.check, kind=kind)
        if request.check in standing_waivers(conn, [verdict_id]).get(verdict_id, {}):
            raise Conflict(
                f"{request.check} of {verdict_id} is waived already",
                fix=f"end that one: deltareg verdict unwaive {verdict_id} --check {request.check}",
            )
        expires_at = _end(conn, request)
        queries.add_waiver(
            conn, waiver_id=waiver_id, verdict_id=verdict_id, check_name=request.check,
            reason=request.reason, expires_at=expires_at, actor_id=caller.principal_id,
        )  # fmt: skip
        after = {
            "version": ref_of(verdict), "check": request.check, "reason": request.reason,
            "expires_at": rfc3339(expires_at),
        }  # fmt: skip
        caller.record(
            conn, Action.VERDICT_WAIVE, f"verdict/{verdict_id}", on=line_of(verdict),
            before=None, after=after,
        )  # fmt: skip
        return _show(conn, caller, verdict_id)

    return with_retry(registry.engine, transaction)


def unwaive(registry: Registry, caller: Caller, verdict_id: str, check: str) -> VerdictInfo:
    """End the waiver of a check before its time; give the verdict.

    Raises:
        NotFound: No such verdict, or the check is not waived.
    """
    caller.require(Right.PROMOTE, on=SOMEWHERE)

    def transaction(conn: sa.Connection) -> VerdictInfo:
        verdict = find_verdict(conn, caller, verdict_id)
        caller.require(Right.PROMOTE, on=line_of(verdict))
        ended = queries.end_waivers(
            conn, verdict_id, check_name=check, revoked_by=caller.principal_id
        )
        if not ended:
            raise NotFound(
                f"{check[:60]} of {verdict_id} is not waived",
                fix=f"deltareg verdict show {verdict_id}",
            )
        before = {"version": ref_of(verdict), "check": check, "waivers": list(ended)}
        caller.record(
            conn, Action.VERDICT_UNWAIVE, f"verdict/{verdict_id}", on=line_of(verdict),
            before=before, after=None,
        )  # fmt: skip
        return _show(conn, caller, verdict_id)

    return with_retry(registry.engine, transaction)


def _show(conn: sa.Connection, caller: Caller, verdict_id: str) -> VerdictInfo:
    waivers = describe_waivers(conn, [verdict_id]).get(verdict_id, [])
    return describe_verdict(find_verdict(conn, caller, verdict_id), waivers)


def _refuse_own(conn: sa.Connection, caller: Caller, verdict: VerdictRow) -> None:
    version = version_queries.version_by_id(conn, verdict.version_id)
    # By principal, not by token: a second token of the same person is the same person.
    uploader = version.created_by or 0
    people = people_of(conn, [uploader, caller.principal_id])
    if people[uploader] == people[caller.principal_id]:
        raise Forbidden(
            f"{caller.principal} pushed {ref_of(version)} and cannot waive its checks",
            fix="ask somebody else who may promote",
        )


def _refuse_check(verdict: VerdictRow, check: str, *, kind: str) -> None:
    outcomes = {str(found["name"]): found["verdict"] for found in verdict.checks}
    failed = [name for name, outcome in outcomes.items() if outcome == "fail"]
    if {check, kind} & NEVER_WAIVED:
        raise InvalidInput(
            f"{check} is never waived: it shows that something is not what it claims to be",
            fix="push a version that passes it",
        )
    if check not in outcomes:
        known = ", ".join(outcomes) or "none"
        raise NotFound(f"verdict {verdict.id} has no check {check[:60]!r}", fix=f"checks: {known}")
    if check not in failed or verdict.verdict != "fail":
        raise InvalidInput(
            f"{check} did not fail in a verdict that is fail: it is {outcomes[check]},"
            f" the verdict {verdict.verdict}",
            fix=f"failed: {', '.join(failed) or 'none'}",
        )


def _kind_of_check(conn: sa.Connection, verdict: VerdictRow, name: str) -> str:
    """Say which check a result is of: a suite may give it another name."""
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
