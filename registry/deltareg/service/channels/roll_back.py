"""Rollbacks: which version they go to, and what it has to be for that.

A rollback goes to a version that the channel served before, on the verdict that it was promoted
with as long as it is inside the window; the version rolled away from is quarantined on the channel.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.clock import US_PER_S, read_clock
from deltareg.db.queries import channels as queries
from deltareg.db.queries import versions as version_queries
from deltareg.db.rows import ChannelRow, RevisionRow, VersionRow, present
from deltareg.errors import Blocked, Conflict, GatePending, NotFound
from deltareg.gate.freeze_window import StandingWindow
from deltareg.gate.judge import is_in_window, refusal
from deltareg.refs import LineRef
from deltareg.service.channels.approvals import tell_count
from deltareg.service.channels.gate import Case, gather
from deltareg.service.channels.serve import check_standing, held, serve
from deltareg.service.describe import ref_of
from deltareg.service.ledger.freeze import tell_freeze, unfreezing, what_freezes
from deltareg.service.priority import HIGH
from deltareg.service.registry import Caller
from deltareg.service.runs.kinds.verify import queue_default_suite
from deltareg.wire import ChannelMove, MoveResult

_LEDGER_DEPTH = 1000
_MOVES = {"promote", "rollback"}


def roll_back(
    conn: sa.Connection, caller: Caller, line: LineRef, channel: ChannelRow,
    current: RevisionRow | None, move: ChannelMove,
) -> MoveResult:  # fmt: skip
    """Move a channel back to a version that it served before.

    Raises:
        NotFound: It served nothing like that.
        Conflict: It serves that version now.
        GateFailed, GatePending, Inconclusive, Blocked: The target is not what it has to be.
    """
    if current is None or current.version_id is None:
        raise NotFound(
            f"nothing was ever on {line}@{channel.name}: nothing to roll back",
            fix=f"deltareg promote {line}:vN --channel {channel.name}",
        )
    if not move.break_glass:
        _refuse_frozen(conn, line, channel, current)
    ledger = read_ledger(conn, channel)
    target = find_target(line, channel, ledger, current, move)
    version = held(conn, version_queries.version_by_id(conn, present(target.version_id)))
    case = gather(conn, version, channel)
    _check_target(conn, line, channel, ledger, target, version, move, case)
    result, revision_id = serve(conn, caller, line, channel, current, version, move, case)
    if current.version_id != version.id:
        queries.add_quarantine(conn, channel.id, current.version_id, revision_id=revision_id)
    if move.dry_run:
        return result
    run = queue_default_suite(conn, caller, version, again=True, priority=HIGH)
    return result.model_copy(update={"verify_run": run})


def _refuse_frozen(
    conn: sa.Connection, line: LineRef, channel: ChannelRow, current: RevisionRow
) -> None:
    """Refuse a move while somebody, or the policy, says that there is none."""
    frozen = what_freezes(channel, current, at_us=read_clock(conn))
    if isinstance(frozen, StandingWindow):
        fix = f"wait, or change the policy: deltareg channel policy set {line} {channel.name} FILE"
        raise Blocked(f"{line}@{channel.name} is in {frozen}", fix=fix)
    if frozen is not None:
        told = tell_freeze(frozen, f"{line}@{channel.name}")
        raise Blocked(told, fix=unfreezing(line, channel.name))


def read_ledger(conn: sa.Connection, channel: ChannelRow) -> Sequence[RevisionRow]:
    """Give the newest entries of a ledger, as far back as a rollback looks."""
    return queries.revision_rows(conn, channel.id, limit=_LEDGER_DEPTH)


def find_target(
    line: LineRef,
    channel: ChannelRow,
    ledger: Sequence[RevisionRow],
    current: RevisionRow,
    move: ChannelMove,
) -> RevisionRow:
    """Choose the revision to go back to: named, or so many versions back.

    Raises:
        NotFound: The channel never served that.
        Conflict: The channel serves that now.
    """
    if move.version is not None:
        served = [row for row in ledger if row.version == move.version]
        where = f"v{move.version}"
    elif move.revision is not None:
        served = [row for row in ledger if row.number == move.revision and row.version_id]
        where = f"#{move.revision}"
    else:
        served = earlier(ledger)[(move.steps or 1) - 1 :]
        steps = move.steps or 1
        where = "one step back" if steps == 1 else f"{steps} steps back"
    if not served:
        raise NotFound(
            f"{line}@{channel.name} never served {where}",
            fix=f"deltareg channel history {line} {channel.name}",
        )
    if served[0].version_id == current.version_id:
        raise Conflict(f"{line}@{channel.name} serves v{current.version} now", fix="nothing to do")
    return served[0]


def earlier(ledger: Sequence[RevisionRow]) -> list[RevisionRow]:
    """Give, newest first, the revisions that lie below the current one, as on a stack.

    A promotion lays a version on top, a rollback takes away what lies above its target. So what was
    rolled away from is never come back to: neither from the version below it, nor from one that was
    promoted afterwards.
    """
    stack: list[RevisionRow] = []
    for row in reversed(ledger):
        if row.kind not in _MOVES:
            continue
        at = [number for number, below in enumerate(stack) if below.version_id == row.version_id]
        if row.kind == "rollback" and at:
            del stack[at[-1] + 1 :]
        else:
            stack.append(row)
    if not stack:
        return []
    return [row for row in reversed(stack[:-1]) if row.version_id != stack[-1].version_id]


def distance(
    ledger: Sequence[RevisionRow], target: RevisionRow, *, now_us: int
) -> tuple[int, float]:
    """Measure how far back a target is: moves since, and seconds since it was served last."""
    moves = [row for row in ledger if row.kind in _MOVES]
    behind = sum(row.number > target.number for row in moves)
    last = max(row.number for row in moves if row.version_id == target.version_id)
    ended = next((row.created_at for row in reversed(moves) if row.number > last), None)
    return behind, 0.0 if ended is None else (now_us - ended) / US_PER_S


def _check_target(
    conn: sa.Connection, line: LineRef, channel: ChannelRow, ledger: Sequence[RevisionRow],
    target: RevisionRow, version: VersionRow, move: ChannelMove, case: Case,
) -> None:  # fmt: skip
    """Hold a rollback's target against what must stand: not revoked, its bytes there, a verdict."""
    history = f"deltareg channel history {line} {channel.name}"
    further = f"deltareg rollback {line} --channel {channel.name} --version vN; see: {history}"
    check_standing(conn, version, fix=further)
    if move.break_glass:
        return
    behind, age_s = distance(ledger, target, now_us=case.now.now_us)
    if is_in_window(behind=behind, age_s=age_s, window=case.policy.rollback):
        return
    error = refusal(case.unmet("approvals", "quarantined"))
    if error is not None:
        raise error
    due = case.policy.approvals
    if due:
        raise GatePending(
            f"{ref_of(version)} left {channel.name} too long ago to come back without"
            f" {tell_count(due)}",
            fix=f"deltareg promote {ref_of(version)} --channel {channel.name}, which opens a"
            " request; or, when there is no time: --break-glass",
        )
