"""Approvals within a move: opening or joining a request, and counting its approvals.

Who may approve is checked here to give a clear error, and by database triggers to be safe (ADR 27).
A move answers the open request of its version and ends the others of its channel; the triggers do
that as well, so what this module adds is the audit trail.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.access.grants import holdings_of
from deltareg.db.channels import requests as queries
from deltareg.db.channels.request_rows import ApprovalRow, RequestRow
from deltareg.db.channels.rows import ChannelRow
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.sql.row_protocols import PolicyColumns
from deltareg.drawing.wording import count
from deltareg.errors import ApprovalDue, GatePending
from deltareg.refs import LineRef
from deltareg.service.access.people import PERSON
from deltareg.service.authority.caller_grants import grants_within, read_holdings
from deltareg.service.authority.decide import AccessDecision, decide
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Channel
from deltareg.service.describe import line_of, ref_of
from deltareg.service.events import Action
from deltareg.service.ledger.channel_policy import digest_of_policy, policy_of
from deltareg.service.registry import Caller
from deltareg.wire import ChannelMove

_ENDS = {"rejected": Action.REQUEST_REJECT, "withdrawn": Action.REQUEST_WITHDRAW, "stale": Action.REQUEST_STALE}
MOVED_ON = "the channel moved on"


def approvals_due(channel: PolicyColumns) -> int:
    """Return how many approvals a promotion to a channel needs."""
    return policy_of(channel).approvals


def approvals_on(conn: sa.Connection, request: RequestRow) -> list[ApprovalRow]:
    """Return the approvals of a request that count: of people who have not lost the right since."""
    return counting(conn, request, queries.approvals_of(conn, [request.id]).get(request.id, []))


def counting(conn: sa.Connection, request: RequestRow, given: Sequence[ApprovalRow]) -> list[ApprovalRow]:
    """Return those of the given approvals that belong to a request and count, as in `approvals_on`."""
    where = channel_of(request)
    own = [row for row in given if row.request_id == request.id and row.kind == PERSON]
    return [row for row in own if not _has_lost(conn, row, where)]


def _has_lost(conn: sa.Connection, row: ApprovalRow, where: Channel) -> bool:
    holdings = read_holdings(holdings_of(conn, row.principal_id))
    rights = grants_within(frozenset({Right.APPROVE.value}), holdings, None)
    return decide(rights, Right.APPROVE, where) is not AccessDecision.ALLOWED


def ask_for_approvals(
    conn: sa.Connection,
    caller: Caller,
    line: LineRef,
    channel: ChannelRow,
    version: VersionRow,
    move: ChannelMove,
    *,
    accepted: Sequence[str] = (),
) -> ApprovalDue | GatePending | None:
    """Open the request that a promotion needs, or join it; None when it has its approvals.

    Raise what it returns once the transaction is committed. What is accepted is recorded with the
    request, for those who approve it.
    """
    needed = approvals_due(channel)
    open_request = next((r for r in queries.open_requests(conn, channel.id) if r.version_id == version.id), None)
    missing = needed - (0 if open_request is None else len(approvals_on(conn, open_request)))
    if missing <= 0:
        return None
    if move.dry_run:
        message = f"{line}@{channel.name} asks for {count(missing, 'approval')} more"
        return GatePending(message, fix="promote it: that opens a request")
    request_id = _open(conn, caller, line, channel, version, move) if open_request is None else open_request.id
    queries.accept_warnings(conn, request_id, accepted)
    request = queries.request_row(conn, request_id)
    if request is None:
        raise AssertionError("a request that was opened is there")
    what = "opened" if open_request is None else "open already"
    return ApprovalDue(
        f"{ref_of(version)} waits for {count(missing, 'approval')} on {channel.name}: request {request_id} is {what}",
        fix=f"{who_may(request)}: deltareg request approve {request_id}",
        request=request_id,
    )


def who_may(request: RequestRow) -> str:
    """Describe who may approve a request."""
    barred = sorted({request.opener, request.uploader or request.opener})
    return f"somebody other than {' and '.join(barred)} whose token allows `approve`"


def end_others(conn: sa.Connection, caller: Caller, channel: ChannelRow, *, but: int | None, why: str) -> None:
    """Make the open requests of a channel stale, except that of one version.

    Call it before the channel moves, or before its policy changes, in the same transaction.
    """
    for request in queries.open_requests(conn, channel.id):
        if request.version_id != but:
            end(conn, caller, request, state="stale", decision=why)


def end(conn: sa.Connection, caller: Caller, request: RequestRow, *, state: str, decision: str) -> None:
    """End an open request without a move, with its audit row."""
    queries.decide(conn, request.id, state=state, decided_by=caller.principal_id, decision=decision)
    after = {"state": state, "version": request.number, "reason": decision}
    caller.record(conn, _ENDS[state], subject_of(request), on=line_of(request), before={"state": "open"}, after=after)


def note_promoted(conn: sa.Connection, caller: Caller, channel: ChannelRow, version: VersionRow) -> int | None:
    """Record that a promotion answers an open request; return its id, or None without one."""
    for request in queries.open_requests(conn, channel.id):
        if request.version_id == version.id:
            approvals = approvals_on(conn, request)
            after = {
                "state": "promoted",
                "version": request.number,
                "approved_by": [row.principal for row in approvals],
            }
            before = {"state": "open"}
            caller.record(
                conn, Action.REQUEST_PROMOTE, subject_of(request), on=line_of(request), before=before, after=after
            )
            return int(request.id)
    return None


def channel_of(request: RequestRow) -> Channel:
    """Return the channel that a request would move."""
    return Channel(line_of(request), request.channel)


def subject_of(request: RequestRow) -> str:
    """Return the name of a request in the audit trail, below its channel."""
    return f"{request.namespace}/{request.line}@{request.channel}/request/{request.id}"


def _open(
    conn: sa.Connection, caller: Caller, line: LineRef, channel: ChannelRow, version: VersionRow, move: ChannelMove
) -> int:
    digest = digest_of_policy(channel)
    request_id = queries.add_request(
        conn,
        channel_id=channel.id,
        version_id=version.id,
        digest=version.manifest_digest,
        policy_digest=digest,
        seen_revision=channel.revision,
        opener_id=caller.principal_id,
        reason=move.reason,
    )
    after = {"state": "open", "version": version.number, "reason": move.reason, "policy": digest}
    subject = f"{line}@{channel.name}/request/{request_id}"
    caller.record(conn, Action.REQUEST_OPEN, subject, on=line, before=None, after=after)
    return request_id
