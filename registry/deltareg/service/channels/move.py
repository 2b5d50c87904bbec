"""Moves of a channel: a compare-and-set, appended to its ledger.

A move only needs the database; no bytes are copied. The checks of each kind of move are in
`promote`, `roll_back` and `freeze`; the checks that all share are here.
"""

from collections.abc import Callable

import sqlalchemy as sa

from deltareg.db.channels import channels as queries
from deltareg.db.channels.rows import ChannelRow
from deltareg.db.session import try_transaction, with_retry
from deltareg.errors import GatePending, InvalidInput, StaleRevision
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Channel
from deltareg.service.channels.promote import promote
from deltareg.service.channels.roll_back import roll_back
from deltareg.service.channels.summaries import keep_summary
from deltareg.service.ledger.channel_policy import policy_of
from deltareg.service.ledger.freeze import freeze_channel, unfreeze_channel
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_channel
from deltareg.wire import ChannelMove, MoveResult

_FREEZES = {"freeze", "unfreeze"}
_ACTS = {"promote": promote, "rollback": roll_back, "freeze": freeze_channel, "unfreeze": unfreeze_channel}


def move_channel(
    registry: Registry,
    caller: Caller,
    line: LineRef,
    name: str,
    move: ChannelMove,
    *,
    seen: int,
    keep: Callable[[sa.Connection, MoveResult], None] | None = None,
) -> MoveResult:
    """Append a revision to a channel that is still at the revision that the caller saw.

    Args:
        registry: The database and the store.
        caller: Who moves it.
        line: The line.
        name: The channel.
        move: What to do, and why.
        seen: The channel's newest revision, as the caller saw it.
        keep: Called with the result in the transaction of the move, so that both commit or neither.

    Raises:
        StaleRevision: The channel has moved since.
        GateFailed, GatePending, Inconclusive, Blocked: The version does not meet the gate.
        ApprovalDue: The channel moves once others have approved; the request is open.
        NotFound: There is no such line, channel or version, or nothing to roll back to.
        InvalidInput: A reason is missing, or the move is malformed.
    """
    right = Right.BREAK_GLASS if move.break_glass else Right.PROMOTE
    caller.require(right, on=Channel(line, name))
    _check(move)

    def transaction(conn: sa.Connection) -> MoveResult | GatePending:
        channel = find_channel(conn, caller, line, name, lock=True)
        if channel.revision != seen:
            raise StaleRevision(
                f"{line}@{name} is at #{channel.revision}, not at #{seen}: somebody moved it meanwhile",
                fix=f"look again: deltareg channel show {line} {name}",
            )
        _check_reason(line, channel, move)
        current = queries.revision_at(conn, channel.id, number=channel.revision)
        result = _ACTS[move.kind](conn, caller, line, channel, current, move)
        if isinstance(result, MoveResult) and move.kind == "promote":
            keep_summary(conn, registry.own_key, channel.id, number=result.revision)
        if keep is not None and isinstance(result, MoveResult) and not move.dry_run:
            keep(conn, result)
        return result

    return _raise_pending((try_transaction if move.dry_run else with_retry)(registry.engine, transaction))


def _raise_pending(result: MoveResult | GatePending) -> MoveResult:
    """Raise a pending outcome, now that its request is committed; return any other result."""
    if isinstance(result, GatePending):
        raise result
    return result


def _check(move: ChannelMove) -> None:
    if move.until is not None and move.kind != "freeze":
        raise InvalidInput("only a freeze ends by itself", fix="leave `until` out")
    if move.break_glass and move.kind in _FREEZES:
        raise InvalidInput(f"no glass is broken to {move.kind} a channel", fix="leave it out")
    if move.break_glass and not move.reason.strip():
        raise InvalidInput("breaking the glass takes a reason", fix="say why: -m REASON")


def _check_reason(line: LineRef, channel: ChannelRow, move: ChannelMove) -> None:
    if policy_of(channel).is_protected and not move.reason.strip():
        raise InvalidInput(f"{line}@{channel.name} is protected: every move takes a reason", fix="say why: -m REASON")
