"""Requests: show, approve, reject, withdraw.

Every decision on a request locks its channel, as every move does. So of two simultaneous approvals
the later counts the earlier, and the one that completes them moves the channel in its own
transaction.
"""

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from deltareg.db.access.grants import same_person
from deltareg.db.channels import channels as channel_queries
from deltareg.db.channels import requests as queries
from deltareg.db.channels.beside_requests import setbacks_of
from deltareg.db.channels.request_rows import ApprovalRow, RequestRow
from deltareg.db.channels.rows import ChannelRow
from deltareg.db.lines import versions as version_queries
from deltareg.db.session import read, with_retry
from deltareg.errors import Conflict, Forbidden, NotFound
from deltareg.gate.new_base import NEW_BASE
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import SHARED, SOMEWHERE
from deltareg.service.channels.approvals import (
    approvals_due,
    approvals_on,
    channel_of,
    counting,
    end,
    subject_of,
    who_may,
)
from deltareg.service.channels.gate import gather
from deltareg.service.channels.serve import hold_version, serve
from deltareg.service.channels.setbacks import setbacks_in_sight
from deltareg.service.channels.summaries import keep_summary
from deltareg.service.clock import rfc3339, rfc3339_or_none
from deltareg.service.describe import line_of
from deltareg.service.events import Action
from deltareg.service.paging import check_limit, page, read_number_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_line
from deltareg.wire import ApprovalInfo, ChannelMove, Page, RequestInfo, RequestState, UnmetRule

_LIST = "deltareg request ls"


def list_requests(
    registry: Registry,
    caller: Caller,
    line: LineRef | None,
    *,
    state: RequestState | None,
    channel: str | None,
    cursor: str | None,
    limit: int,
) -> Page[RequestInfo]:
    """List the requests of a line, or all that the caller may read, newest first."""
    caller.require(Right.READ, on=SHARED)
    if line is not None:
        caller.require(Right.READ, on=line)
    before = read_number_cursor(cursor)
    with read(registry.engine) as conn:
        delta_id = None if line is None else find_line(conn, caller, line).id
        rows = queries.request_rows(
            conn,
            state=state,
            delta_id=delta_id,
            channel=channel,
            sight=caller.sight,
            before=before,
            limit=check_limit(limit) + 1,
        )
        approvals = {row.id: approvals_on(conn, row) for row in rows}
    return page(rows, limit, key=lambda row: row.id, show=lambda row: _describe(row, approvals[row.id]))


def show_request(registry: Registry, caller: Caller, request_id: int) -> RequestInfo:
    """Show a request and what blocks its promotion now.

    Raises:
        NotFound: There is no request with that number.
    """
    caller.require(Right.READ, on=SHARED)
    with read(registry.engine) as conn:
        row = find_request(conn, caller, request_id)
        fallen = setbacks_in_sight(caller, setbacks_of(conn, row.id))
        return _show_request(conn, row).model_copy(update={"setbacks": fallen})


def approve_request(registry: Registry, caller: Caller, request_id: int, *, message: str) -> RequestInfo:
    """Approve a request; the last approval needed moves the channel if the gate is met.

    Approving again changes nothing.

    Raises:
        Forbidden: The caller opened the request, pushed the version, or is a script.
        Conflict: The request is not open any more.
    """
    caller.require(Right.APPROVE, on=SOMEWHERE)

    def act(conn: sa.Connection, request: RequestRow, channel: ChannelRow) -> None:
        _check_other(conn, caller, request)
        approvals = queries.approvals_of(conn, [request.id]).get(request.id, [])
        if caller.principal_id not in {row.principal_id for row in approvals}:
            queries.add_approval(
                conn, request.id, principal_id=caller.principal_id, token_id=caller.token_id, message=message
            )
            after = {"version": request.number, "message": message, "approvals": len(approvals) + 1}
            before = {"approvals": len(approvals)}
            caller.record(
                conn, Action.REQUEST_APPROVE, subject_of(request), on=line_of(request), before=before, after=after
            )
        _promote_if_due(conn, caller, request, channel)

    def is_done(conn: sa.Connection, request: RequestRow) -> bool:
        approvals = queries.approvals_of(conn, [request.id]).get(request.id, [])
        is_mine = caller.principal_id in {row.principal_id for row in approvals}
        return bool(request.state == "promoted") and is_mine

    return _decide(registry, caller, request_id, Right.APPROVE, act, is_done=is_done)


def reject_request(registry: Registry, caller: Caller, request_id: int, *, reason: str) -> RequestInfo:
    """Reject a request, with a reason.

    Raises:
        Conflict: The request is not open any more.
    """
    caller.require(Right.APPROVE, on=SOMEWHERE)

    def act(conn: sa.Connection, request: RequestRow, _channel: ChannelRow) -> None:
        end(conn, caller, request, state="rejected", decision=reason)

    def is_done(_conn: sa.Connection, request: RequestRow) -> bool:
        return (request.state, request.decided_by) == ("rejected", caller.principal_id)

    return _decide(registry, caller, request_id, Right.APPROVE, act, is_done=is_done)


def withdraw_request(registry: Registry, caller: Caller, request_id: int) -> RequestInfo:
    """Withdraw a request that the caller opened.

    Raises:
        Forbidden: Somebody else opened it.
        Conflict: The request is not open any more.
    """
    caller.require(Right.PROMOTE, on=SOMEWHERE)

    def act(conn: sa.Connection, request: RequestRow, _channel: ChannelRow) -> None:
        where = channel_of(request)
        is_opener = caller.principal_id == request.opener_id
        if not is_opener and not caller.may(Right.ADMIN, on=where):
            raise Forbidden(
                f"request {request.id} was opened by {request.opener}",
                fix=f"ask {request.opener}, or: deltareg request reject {request.id} -m REASON",
            )
        end(conn, caller, request, state="withdrawn", decision="")

    def is_done(_conn: sa.Connection, request: RequestRow) -> bool:
        return (request.state, request.decided_by) == ("withdrawn", caller.principal_id)

    return _decide(registry, caller, request_id, Right.PROMOTE, act, is_done=is_done)


def _decide(
    registry: Registry,
    caller: Caller,
    request_id: int,
    right: Right,
    act: Callable[[sa.Connection, RequestRow, ChannelRow], None],
    *,
    is_done: Callable[[sa.Connection, RequestRow], bool],
) -> RequestInfo:
    """Act on an open request while its channel is locked; a request already decided so stays."""

    def transaction(conn: sa.Connection) -> RequestInfo:
        unlocked = _find(conn, caller, request_id)
        caller.require(right, on=channel_of(unlocked))
        channel = channel_queries.channel_by_id(conn, unlocked.channel_id, lock=True)
        request = _find(conn, caller, request_id)
        if request.state != "open" and is_done(conn, request):
            return _show_request(conn, request)
        if request.state != "open":
            raise Conflict(
                f"request {request.id} is {request.state}{_by(request)}", fix=f"deltareg request show {request.id}"
            )
        act(conn, request, channel)
        decided = _find(conn, caller, request_id)
        if decided.revision is not None:
            keep_summary(conn, registry.own_key, channel.id, number=decided.revision)
        return _show_request(conn, decided)

    return with_retry(registry.engine, transaction)


def _check_other(conn: sa.Connection, caller: Caller, request: RequestRow) -> None:
    """Refuse an approver who is no person, or the same person as the opener or the uploader.

    What a script did counts as everybody's behind it, and two names of one person count as one.
    """
    caller.require_person("an approval")
    whose = {request.uploader_id: "pushed its version", request.opener_id: "opened it"}
    whose |= {
        row.principal_id: "approved it as " + row.principal
        for row in queries.approvals_of(conn, [request.id]).get(request.id, [])
        if row.principal_id != caller.principal_id
    }
    other_ids = [who for who in whose if who is not None]
    people = same_person(conn, other_ids, acts=caller.principal_id)
    same = next((who for who in other_ids if who in people), None)
    if same is not None:
        also = "" if same == caller.principal_id else ", under another name,"
        raise Forbidden(
            f"{caller.principal}{also} {whose[same]}, so somebody else has to approve request {request.id}",
            fix=f"ask {who_may(request)}",
        )


def _promote_if_due(conn: sa.Connection, caller: Caller, request: RequestRow, channel: ChannelRow) -> None:
    approvals = approvals_on(conn, request)
    if len(approvals) < approvals_due(channel):
        return
    version = hold_version(conn, version_queries.version_by_id(conn, request.version_id))
    accepted = queries.warnings_accepted(conn, request.id)
    case = gather(conn, version, channel).accepting(accepted)
    if case.unmet("approvals"):
        return
    line = LineRef(request.namespace, request.line)
    current = channel_queries.revision_at(conn, channel.id, number=channel.revision)
    move = ChannelMove(
        kind="promote",
        version=version.number,
        reason=request.reason,
        accept_warnings=bool(case.warnings()),
        new_base=NEW_BASE in accepted,
    )
    serve(conn, caller, line, channel, current, version, move, case)


def find_request(conn: sa.Connection, caller: Caller, request_id: int) -> RequestRow:
    """Find a request that the caller may read.

    Raises:
        NotFound: There is no request with that number.
    """
    request = _find(conn, caller, request_id)
    caller.require(Right.READ, on=line_of(request))
    return request


def _find(conn: sa.Connection, caller: Caller, request_id: int) -> RequestRow:
    row = queries.request_row(conn, request_id)
    if row is None or not caller.sees(line_of(row)):
        raise NotFound(f"there is no request {request_id}", fix=_LIST)
    return row


def _show_request(conn: sa.Connection, request: RequestRow) -> RequestInfo:
    return before_its_gate(conn, request, *queries.beside_request(conn, request.id))[0]


def before_its_gate(
    conn: sa.Connection, request: RequestRow, given: Sequence[ApprovalRow], accepted: list[str]
) -> tuple[RequestInfo, list[str]]:
    """Describe a request with what blocks it; also return, in words, the verdicts that it rests on.

    Args:
        conn: A transaction.
        request: The request.
        given: All its approvals.
        accepted: The warnings that were accepted with it.
    """
    info = _describe(request, counting(conn, request, given))
    info = info.model_copy(update={"accepted": accepted})
    if request.state != "open":
        return info, []
    version = version_queries.version_by_id(conn, request.version_id)
    channel = channel_queries.channel_by_id(conn, request.channel_id)
    case = gather(conn, version, channel).accepting(accepted)
    rulings = case.rulings()
    unmet = [
        UnmetRule(rule=u.rule, message=u.message, fix=u.fix, asked_by=list(u.asked_by))
        for u in rulings
        if not u.is_met and u.rule != "approvals"
    ]
    passes = [one.message for one in rulings if one.is_met and one.rule == "verdict"]
    found = {"unmet": unmet, "base": case.candidate.base_fact.name, "served_base": case.served_base}
    return info.model_copy(update=found), passes


def _describe(row: RequestRow, given: Sequence[ApprovalRow]) -> RequestInfo:
    needed = approvals_due(row)
    return RequestInfo(
        id=row.id,
        state=row.state,
        channel=row.channel,
        line=f"{row.namespace}/{row.line}",
        ref=f"{row.namespace}/{row.line}:v{row.number}",
        version=row.number,
        digest=row.digest,
        previous=row.previous,
        policy_digest=row.policy_digest,
        seen_revision=row.seen_revision,
        opener=row.opener,
        uploader=row.uploader,
        reason=row.reason,
        opened_at=rfc3339(row.created_at),
        due=needed,
        missing=max(0, needed - len(given)) if row.state == "open" else 0,
        approvals=[ApprovalInfo(principal=a.principal, message=a.message, at=rfc3339(a.created_at)) for a in given],
        decided_by=row.decider,
        decided_at=rfc3339_or_none(row.decided_at),
        decision=row.decision,
        revision=row.revision,
    )


def _by(request: RequestRow) -> str:
    by_whom = f" by {request.decider}" if request.decider else ""
    return f"{by_whom}: {request.decision}" if request.decision else by_whom
