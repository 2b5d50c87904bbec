"""Accepting undecided comparisons with a promotion: a waiver for each, in the transaction of the move.

A comparison that the samples do not decide has shown nothing bad, so on a channel that is not
protected whoever promotes may answer for it, of their own version, too. It is no new level: what
comes next is held against the best that was before.
"""

from uuid import uuid4

import sqlalchemy as sa

from deltareg.db.channels.rows import ChannelRow
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.sql.clock import US_PER_S, read_clock
from deltareg.db.verdicts import waivers as queries
from deltareg.errors import InvalidInput
from deltareg.service.channels.gate import GateCase
from deltareg.service.channels.waive import refuse_own
from deltareg.service.clock import rfc3339
from deltareg.service.describe import line_of, ref_of
from deltareg.service.events import Action
from deltareg.service.registry import Caller
from deltareg.service.verdicts.waivers import find_verdict
from deltareg.wire import ChannelMove

_DAYS = 30


def accept_undecided(
    conn: sa.Connection, caller: Caller, channel: ChannelRow, version: VersionRow, case: GateCase, move: ChannelMove
) -> int:
    """Waive what the gate calls undecided; return how many comparisons that were.

    Raises:
        InvalidInput: The move gives no reason.
        Forbidden: The channel is protected, and the caller pushed the version.
    """
    undecided = case.open_comparisons()
    if not undecided:
        return 0
    if not move.reason.strip():
        raise InvalidInput("to accept what is undecided takes a reason", fix="say why: -m REASON")
    queries.hold_waivers(conn, version.id)
    expires_at = read_clock(conn) + _DAYS * 86_400 * US_PER_S
    for verdict_id, check in undecided:
        verdict = find_verdict(conn, caller, verdict_id)
        if case.policy.is_protected:
            refuse_own(conn, caller, verdict)
        waiver = queries.WaiverRecord(verdict_id, check, move.reason, expires_at, caller.principal_id, channel.id)
        queries.add_waiver(conn, str(uuid4()), waiver)
        after = {
            "version": ref_of(verdict),
            "check": check,
            "channel": channel.name,
            "reason": move.reason,
            "expires_at": rfc3339(expires_at),
            "undecided": True,
        }
        caller.record(
            conn, Action.VERDICT_WAIVE, f"verdict/{verdict_id}", on=line_of(verdict), before=None, after=after
        )
    return len(undecided)
