"""A preview of waiving a check of a verdict: what may be waived, and what happens then.

It applies the same rules as waiving itself, and changes nothing.
"""

import sqlalchemy as sa

from deltareg.db.channels import channels as channel_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.session import read
from deltareg.db.verdicts.rows import VerdictRow
from deltareg.errors import DeltaregError
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import SOMEWHERE
from deltareg.service.channels.waive import kind_of_check, refuse_check, refuse_own
from deltareg.service.describe import line_of
from deltareg.service.registry import Caller, Registry
from deltareg.service.verdicts.facts import is_undecided
from deltareg.service.verdicts.verdicts import describe_verdict
from deltareg.service.verdicts.waivers import describe_waivers, find_verdict
from deltareg.wire import Answer, CheckResult, VerdictInfo


class FailedCheck(Answer):
    """A failed check, and why it cannot be waived; `why_not` is empty if it can."""

    result: CheckResult
    why_not: str
    fix: str


class WaiverLook(Answer):
    """A verdict, its failed checks, and the effect of waiving all of them.

    `why_not` says why the caller may waive nothing in it, and is empty if they may; `may_end` is
    whether they may end waivers. `left_out` has the checks that were skipped after a failure and
    would run then. With `is_owed`, every failed check is waived, and no run makes up for the
    skipped ones yet.
    """

    line: str
    number: int
    verdict: VerdictInfo
    failed: list[FailedCheck]
    left_out: list[str]
    channels: list[str]
    why_not: str
    may_end: bool
    is_owed: bool


def look_at_waiving(registry: Registry, caller: Caller, verdict_id: str) -> WaiverLook:
    """Return what may be waived in a verdict, on which channels, and what happens then.

    Raises:
        NotFound: There is no such verdict.
    """
    caller.require(Right.READ, on=SOMEWHERE)
    with read(registry.engine) as conn:
        row = find_verdict(conn, caller, verdict_id)
        caller.require(Right.READ, on=line_of(row))
        version = version_queries.version_by_id(conn, row.version_id)
        names = [one.name for one in channel_queries.channel_rows(conn, version.delta_id)]
        waivers = describe_waivers(conn, [verdict_id]).get(verdict_id, [])
        failed = [
            _explain_failed(conn, row, CheckResult.model_validate(check))
            for check in row.checks
            if check.get("verdict") == "fail" or is_undecided(check)
        ]
        why_not = _why_not(conn, caller, row)
    info = describe_verdict(row, waivers)
    waived = {waiver.check for waiver in waivers if waiver.stands}
    skipped = [check.name for check in info.checks if check.verdict == "skipped"]
    left_out = [] if info.is_complete else skipped
    own = [one.result.name for one in failed if one.result.verdict == "fail"]
    is_answered = bool(own) and waived.issuperset(own)
    return WaiverLook(
        line=str(line_of(row)),
        number=version.number,
        verdict=info,
        failed=failed,
        left_out=left_out,
        channels=names,
        why_not=why_not,
        may_end=caller.may(Right.PROMOTE, on=line_of(row)),
        is_owed=bool(left_out) and is_answered and info.counts and not info.continuation,
    )


def _explain_failed(conn: sa.Connection, row: VerdictRow, check: CheckResult) -> FailedCheck:
    try:
        refuse_check(row, check.name, kind=kind_of_check(conn, row, check.name))
    except DeltaregError as error:
        return FailedCheck(result=check, why_not=error.message, fix=error.fix)
    return FailedCheck(result=check, why_not="", fix="")


def _why_not(conn: sa.Connection, caller: Caller, row: VerdictRow) -> str:
    if not caller.may(Right.PROMOTE, on=line_of(row)):
        return f"it takes the right to promote in {line_of(row)}, which you do not have"
    try:
        refuse_own(conn, caller, row)
    except DeltaregError as error:
        return error.message
    return ""
