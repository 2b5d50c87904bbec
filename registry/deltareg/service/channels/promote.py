"""Promotions: through the gate and, where a policy asks for them, with the approvals of others."""

from typing import cast

import sqlalchemy as sa

from deltareg.db.channels.rows import ChannelRow, RevisionRow
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.errors import Conflict, DeltaregError, GatePending, InvalidInput, NotFound
from deltareg.gate.judge import refusal
from deltareg.refs import LineRef
from deltareg.service.channels.accept_undecided import accept_undecided
from deltareg.service.channels.approvals import ask_for_approvals
from deltareg.service.channels.gate import gather
from deltareg.service.channels.serve import check_standing, hold_version, serve
from deltareg.service.describe import ref_of
from deltareg.service.registry import Caller
from deltareg.wire import ChannelMove, MoveResult


def promote(
    conn: sa.Connection,
    caller: Caller,
    line: LineRef,
    channel: ChannelRow,
    current: RevisionRow | None,
    move: ChannelMove,
) -> MoveResult | GatePending:
    """Move a channel to a version, or open the request for it.

    Raises:
        InvalidInput: The move names no version.
        NotFound: There is no such version.
        GateFailed, GatePending, Inconclusive, Blocked: The version does not meet the gate.
        NewBase: It is for another base than the channel serves, and the move does not allow that.
        Conflict: The channel serves it already.
    """
    if move.version is None:
        raise InvalidInput("a promotion names a version", fix="send `version`")
    version = hold_version(conn, _version(conn, line, channel.delta_id, move.version))
    case = gather(conn, version, channel)
    if move.accept_undecided and not move.break_glass and accept_undecided(conn, caller, channel, version, case, move):
        case = gather(conn, version, channel)
    case = case.accepting_for(warnings=move.accept_warnings, new_base=move.new_base)
    if move.break_glass:
        check_standing(case.candidate, fix="choose another version")
    else:
        unmet = case.unmet()
        # Approvals alone are asked for by a request; with other rules they are told of as well.
        if any(ruling.rule != "approvals" for ruling in unmet):
            raise cast(DeltaregError, refusal(unmet))
    if current is not None and current.version_id == version.id:
        raise Conflict(f"{ref_of(version)} is on {channel.name} already", fix="nothing to do")
    if not move.break_glass:
        waiting = ask_for_approvals(conn, caller, line, channel, version, move, accepted=case.accepted)
        if waiting is not None:
            return waiting
    return serve(conn, caller, line, channel, current, version, move, case)[0]


def _version(conn: sa.Connection, line: LineRef, delta_id: int, number: int) -> VersionRow:
    row = version_queries.find_version(conn, delta_id, number=number)
    if row is None:
        raise NotFound(f"there is no version {line}:v{number}", fix=f"deltareg log {line}")
    return row
