"""Moves of a channel: a compare-and-set on it, appended to its ledger.

All need the database alone, no byte moves. A promotion passes the gate. A rollback goes to a
version that this channel served before, on the verdict that it was promoted with as long as it is
inside the window; the version rolled away from is quarantined on the channel.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.clock import US_PER_S, read_clock
from deltareg.db.queries import channels as queries
from deltareg.db.queries import packs as pack_queries
from deltareg.db.queries import versions as version_queries
from deltareg.db.queries.stacks import stack_below
from deltareg.db.rows import Row
from deltareg.db.session import with_retry, write
from deltareg.errors import Blocked, Conflict, InvalidInput, NotFound, StaleRevision
from deltareg.lifecycle import freeze_window, is_in_window, refusal
from deltareg.refs import LineRef
from deltareg.service.describe import ref_of
from deltareg.service.freeze import (
    freeze_channel,
    standing_freeze,
    tell_freeze,
    unfreeze_channel,
    unfreezing,
)
from deltareg.service.gate import facts, judge, read_policy
from deltareg.service.ledger import append
from deltareg.service.priority import HIGH
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_channel, find_line
from deltareg.service.revocations import tell_revocation
from deltareg.service.runs import queue_default_suite
from deltareg.service.stacks import revoked_below
from deltareg.wire import ChannelMove, MoveResult

_LEDGER_DEPTH = 1000
_MOVES = {"promote", "rollback"}


def move_channel(
    registry: Registry,
    caller: Caller,
    line: LineRef,
    name: str,
    move: ChannelMove,
    *,
    seen: int,
) -> MoveResult:
    """Append a revision to a channel that is still at the revision that the caller saw.

    Raises:
        StaleRevision: It has moved since.
        GateFailed, GatePending, Inconclusive, Blocked: What the gate asks for is not there.
        NotFound: No such line, channel or version, or nothing to roll back to.
    """
    caller.require("promote")
    if move.until is not None and move.kind != "freeze":
        raise InvalidInput("only a freeze ends by itself", fix="leave `until` out")

    def transaction(conn: sa.Connection) -> MoveResult:
        delta = find_line(conn, line)
        find_channel(conn, delta, line, name)
        channel = queries.channel_row(conn, delta.id, name, lock=True)
        if channel is None or channel.revision != seen:
            now = "gone" if channel is None else f"at #{channel.revision}"
            raise StaleRevision(
                f"{line}@{name} is {now}, not at #{seen}: somebody moved it meanwhile",
                fix=f"look again: deltareg channel show {line} {name}",
            )
        current = queries.revision_at(conn, channel.id, number=channel.revision)
        return _ACTS[move.kind](conn, caller, line, channel, current, move)

    if not move.dry_run:
        return with_retry(registry.engine, transaction)
    with write(registry.engine) as conn, conn.begin_nested() as trial:
        result = transaction(conn)
        trial.rollback()
    return result


def _promote(
    conn: sa.Connection, caller: Caller, line: LineRef, channel: Row, current: Row | None,
    move: ChannelMove,
) -> MoveResult:  # fmt: skip
    if move.version is None:
        raise InvalidInput("a promotion names a version")
    version = _held(conn, _version(conn, line, channel.delta_id, move.version))
    error = refusal(judge(conn, version, channel))
    if error is not None:
        raise error
    if current is not None and current.version_id == version.id:
        raise Conflict(f"{ref_of(version)} is on {channel.name} already", fix="nothing to do")
    return _append(conn, caller, line, channel, current, version, move)[0]


def _roll_back(
    conn: sa.Connection, caller: Caller, line: LineRef, channel: Row, current: Row | None,
    move: ChannelMove,
) -> MoveResult:  # fmt: skip
    if current is None or current.version_id is None:
        raise NotFound(f"nothing was ever on {line}@{channel.name}: nothing to roll back")
    _refuse_frozen(conn, line, channel)
    ledger = queries.revision_rows(conn, channel.id, limit=_LEDGER_DEPTH)
    target = _target(line, channel, ledger, current, move)
    version = _held(conn, version_queries.version_by_id(conn, target.version_id))
    _check_target(conn, line, channel, ledger, target, version)
    result, revision_id = _append(conn, caller, line, channel, current, version, move)
    if current.version_id != version.id:
        queries.add_quarantine(conn, channel.id, current.version_id, revision_id=revision_id)
    if move.dry_run:
        return result
    run = queue_default_suite(conn, caller, version, again=True, priority=HIGH)
    return result.model_copy(update={"verify_run": run})


def _refuse_frozen(conn: sa.Connection, line: LineRef, channel: Row) -> None:
    freeze = standing_freeze(conn, channel)
    if freeze is not None:
        told = tell_freeze(freeze, f"{line}@{channel.name}")
        raise Blocked(told, fix=unfreezing(line, channel.name))
    window = freeze_window(read_policy(channel), now_us=read_clock(conn))
    if window:
        fix = f"wait, or change the policy: deltareg channel policy set {line} {channel.name} FILE"
        raise Blocked(f"{line}@{channel.name} is in {window}", fix=fix)


def _target(
    line: LineRef, channel: Row, ledger: Sequence[Row], current: Row, move: ChannelMove
) -> Row:
    """Choose the revision to go back to: named, or so many versions back."""
    if move.version is not None:
        served = [row for row in ledger if row.version == move.version]
        where = f"v{move.version}"
    elif move.revision is not None:
        served = [row for row in ledger if row.number == move.revision and row.version_id]
        where = f"#{move.revision}"
    else:
        served = _earlier(ledger)[(move.steps or 1) - 1 :]
        where = f"{move.steps or 1} step(s) back"
    if not served:
        raise NotFound(
            f"{line}@{channel.name} never served {where}",
            fix=f"deltareg channel history {line} {channel.name}",
        )
    if served[0].version_id == current.version_id:
        raise Conflict(f"{line}@{channel.name} serves v{current.version} now", fix="nothing to do")
    return served[0]


def _earlier(ledger: Sequence[Row]) -> list[Row]:
    """Give, newest first, the revisions that lie below the current one, as on a stack.

    A promotion lays a version on top, a rollback takes away what lies above its target. So what was
    rolled away from is never come back to: neither from the version below it, nor from one that was
    promoted afterwards.
    """
    stack: list[Row] = []
    for row in reversed(ledger):
        if row.kind not in _MOVES:
            continue
        at = [number for number, below in enumerate(stack) if below.version_id == row.version_id]
        if row.kind == "rollback" and at:
            del stack[at[-1] + 1 :]
        else:
            stack.append(row)
    return [row for row in reversed(stack[:-1]) if row.version_id != stack[-1].version_id]


def _check_target(
    conn: sa.Connection,
    line: LineRef,
    channel: Row,
    ledger: Sequence[Row],
    target: Row,
    version: Row,
) -> None:
    """Hold a rollback's target against what must stand: not revoked, its bytes there, a verdict."""
    ref = ref_of(version)
    history = f"deltareg channel history {line} {channel.name}"
    further = f"deltareg rollback {line} --channel {channel.name} --version vN; see: {history}"
    if version.deleted_at is not None:
        raise Blocked(f"{ref} is deleted", fix=history)
    if version.revoked_at is not None:
        raise Blocked(f"{ref} was {tell_revocation(conn, version)}", fix=further)
    below = revoked_below(conn, version)
    if below:
        raise Blocked(f"{ref} stands on {below}", fix=further)
    moves = [row for row in ledger if row.kind in _MOVES]
    behind = sum(row.number > target.number for row in moves)
    last = max(row.number for row in moves if row.version_id == version.id)
    ended = next((row.created_at for row in reversed(moves) if row.number > last), None)
    age_s = 0.0 if ended is None else (read_clock(conn) - ended) / US_PER_S
    if is_in_window(behind=behind, age_s=age_s, window=read_policy(channel).rollback):
        return
    unmet = [u for u in judge(conn, version, channel) if u.rule != "quarantined"]
    error = refusal(unmet)
    if error is not None:
        raise error


def _append(
    conn: sa.Connection, caller: Caller, line: LineRef, channel: Row, current: Row | None,
    version: Row, move: ChannelMove,
) -> tuple[MoveResult, int]:  # fmt: skip
    verdict_ids = [fact.id for fact in facts(conn, version.id)[:1]]
    return append(
        conn, caller, line, channel, current, move, serves=version, verdict_ids=verdict_ids
    )


def _held(conn: sa.Connection, version: Row) -> Row:
    """Read a version again, held with what it stands on: none is revoked or deleted until the end.

    What was read before may have been revoked by somebody who has committed since.
    """
    below = [] if version.base_id is None else stack_below(conn, version.base_id)
    pack_queries.lock_versions(conn, [version.id, *(row.id for row in below)])
    return version_queries.version_by_id(conn, version.id)


def _version(conn: sa.Connection, line: LineRef, delta_id: int, number: int) -> Row:
    row = version_queries.find_version(conn, delta_id, number=number)
    if row is None:
        raise NotFound(f"there is no version {line}:v{number}", fix=f"deltareg log {line}")
    return row


_ACTS = {
    "promote": _promote,
    "rollback": _roll_back,
    "freeze": freeze_channel,
    "unfreeze": unfreeze_channel,
}
