"""Rollbacks: which version they go to, and what that version must satisfy.

A rollback goes to a version that the channel served before. Inside the rollback window, the verdict
with which that version was promoted is enough, unless it has failed since. The version rolled away
from is quarantined on the channel.
"""

from collections.abc import Sequence
from itertools import takewhile
from typing import cast
from uuid import uuid4

import sqlalchemy as sa

from deltareg.db.bases import bases as base_queries
from deltareg.db.channels import ledger as queries
from deltareg.db.channels.channels import add_quarantine, quarantined_numbers
from deltareg.db.channels.rows import ChannelRow, LedgerRow, RevisionRow
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.sql.clock import US_PER_S, read_clock
from deltareg.db.sql.row_protocols import present
from deltareg.drawing.wording import count
from deltareg.errors import Blocked, Conflict, DeltaregError, GateFailed, GatePending, NotFound
from deltareg.gate.freeze_window import StandingWindow, standing_window
from deltareg.gate.judge import is_in_window, refusal
from deltareg.refs import LineRef
from deltareg.service.channels.gate import GateCase, gather
from deltareg.service.channels.serve import check_standing, hold_version, serve
from deltareg.service.clock import moment_of
from deltareg.service.describe import ref_of
from deltareg.service.ledger.channel_policy import floors_of
from deltareg.service.ledger.freeze import tell_freeze, unfreezing, what_freezes
from deltareg.service.priority import HIGH
from deltareg.service.registry import Caller
from deltareg.service.runs.kinds.verify import queue_verify
from deltareg.service.verdicts.suites import find_suite
from deltareg.suites.suite import DEFAULT_SUITE
from deltareg.wire import ChannelMove, MoveResult

_LEDGER_DEPTH = 1000
NEAR = 64
_MOST_NAMED = 5
_MOVES = {"promote", "rollback"}


def roll_back(
    conn: sa.Connection,
    caller: Caller,
    line: LineRef,
    channel: ChannelRow,
    current: RevisionRow | None,
    move: ChannelMove,
) -> MoveResult:
    """Move a channel back to a version that it served before.

    Raises:
        NotFound: The channel never served such a version.
        Conflict: The channel serves that version now.
        GateFailed, GatePending, Inconclusive, Blocked: The target does not meet the conditions of a
            rollback.
    """
    if current is None or current.version_id is None:
        raise NotFound(
            f"nothing was ever on {line}@{channel.name}: nothing to roll back",
            fix=f"deltareg promote {line}:vN --channel {channel.name}",
        )
    if not move.break_glass:
        _refuse_frozen(conn, line, channel, current)
    near = queries.ledger_rows(conn, channel.id, limit=NEAR)
    target = find_target(conn, line, channel, current, move, near)
    version = hold_version(conn, version_queries.version_by_id(conn, present(target.version_id)))
    case = gather(conn, version, channel)
    _check_target(conn, line, channel, target, version, move, case, near)
    result, revision_id = serve(conn, caller, line, channel, current, version, move, case)
    if current.version_id != version.id:
        add_quarantine(conn, channel.id, current.version_id, revision_id=revision_id)
    numbers = quarantined_numbers(conn, [channel.id]).get(channel.id, [])
    result = result.model_copy(update={"quarantined": numbers})
    if move.dry_run:
        return result
    runs = _verify_again(conn, caller, channel, version, case)
    return result.model_copy(update={"verify_run": runs[0], "verify_runs": runs})


def _verify_again(
    conn: sa.Connection, caller: Caller, channel: ChannelRow, version: VersionRow, case: GateCase
) -> list[str]:
    """Queue the channel's suites again, on the base and each variant; return the run ids.

    The verdicts of the promotion may be old, and the policy may have been another one.
    """
    names = [suite.name for suite in case.policy.suites if suite.name in case.now.suites]
    suites = [find_suite(conn, name) for name in names or [DEFAULT_SUITE]]
    variants = [
        row
        for name in case.policy.variants
        for row in base_queries.base_rows(conn, name=name, limit=1)
        if name in case.now.variants
    ]
    return [
        queue_verify(
            conn,
            caller,
            version,
            suite,
            again=True,
            labels={},
            priority=HIGH,
            new_id=uuid4,
            channel=channel.name,
            variant=variant,
        )
        for variant in (None, *variants)
        for suite in suites
    ]


def _refuse_frozen(conn: sa.Connection, line: LineRef, channel: ChannelRow, current: RevisionRow) -> None:
    """Refuse a move while the channel is frozen, by hand or by its policy."""
    at_us = read_clock(conn)
    frozen = what_freezes(channel, current, at_us=at_us)
    if isinstance(frozen, StandingWindow):
        for floor in floors_of(channel, namespace=line.namespace):
            if standing_window(floor.policy.freeze, moment_of(at_us)) == frozen:
                message = f"{line}@{channel.name} is in {frozen} (asked by {floor.of})"
                raise Blocked(message, fix=f"wait; what {floor.of} asks: {floor.command}")
        fix = f"wait, or change the policy: deltareg channel policy set {line} {channel.name} FILE"
        raise Blocked(f"{line}@{channel.name} is in {frozen}", fix=fix)
    if frozen is not None:
        message = tell_freeze(frozen, f"{line}@{channel.name}")
        raise Blocked(message, fix=unfreezing(line, channel.name))


def find_target(
    conn: sa.Connection,
    line: LineRef,
    channel: ChannelRow,
    current: RevisionRow,
    move: ChannelMove,
    near: Sequence[LedgerRow],
) -> LedgerRow:
    """Return the ledger entry to go back to: the named one, or so many versions back.

    It is looked for in `near`, the newest `NEAR` entries, before the ledger is asked.

    Raises:
        NotFound: The channel never served that version.
        Conflict: The channel serves that version now.
    """
    target: LedgerRow | None
    if move.version is not None:
        target = next((row for row in near if row.version == move.version), None)
        target = target or queries.entry_of_version(conn, channel.id, move.version)
        where = f"v{move.version}"
    elif move.revision is not None:
        target = next((row for row in near if row.number == move.revision), None)
        target = target or queries.entry_at(conn, channel.id, move.revision)
        where = f"#{move.revision}"
    else:
        steps = move.steps or 1
        target = step_back(conn, channel, steps, near=near)
        where = ""
    if target is None or target.version_id is None:
        raise _tell_no_target(conn, line, channel, current, move, where)
    if target.version_id == current.version_id:
        raise Conflict(f"{line}@{channel.name} serves v{current.version} now", fix="nothing to do")
    return target


def _tell_no_target(
    conn: sa.Connection, line: LineRef, channel: ChannelRow, current: RevisionRow, move: ChannelMove, where: str
) -> NotFound:
    """Return the error for a target that is not there, with what there is to go back to."""
    name, back = f"{line}@{channel.name}", f"deltareg rollback {line} --channel {channel.name}"
    history = f"deltareg channel history {line} {channel.name}"
    ledger = queries.ledger_rows(conn, channel.id, limit=_LEDGER_DEPTH)
    served = sorted({row.version for row in ledger if row.version is not None and row.version != current.version})
    others = ", ".join(f"v{number}" for number in served[-_MOST_NAMED:])
    if where:
        fix = f"it served {others}: {back} --version vN; see: {history}" if served else history
        return NotFound(f"{name} never served {where}", fix=fix)
    below = _below(stack_ledger(ledger)[0])
    if below:
        steps = "1 step" if len(below) == 1 else f"{len(below)} steps"
        message = f"{name} can go back {steps}, not {move.steps}"
        return NotFound(message, fix=f"{back} --steps {len(below)}; or any that it served: {back} --version vN")
    message = f"{name} serves v{current.version}, and nothing before it is left to go back to"
    if not served:
        return NotFound(message, fix=f"promote another version: deltareg promote {line}:vN --channel {channel.name}")
    fix = f"it served {others} and was rolled back from there; to serve that again: {back} --version v{served[-1]}"
    return NotFound(message, fix=fix)


def _below(stack: Sequence[LedgerRow]) -> list[LedgerRow]:
    """Return the entries below the current one, the next first, without those of the same version."""
    return [row for row in reversed(stack[:-1]) if row.version_id != stack[-1].version_id]


def step_back(
    conn: sa.Connection, channel: ChannelRow, steps: int = 1, *, near: Sequence[LedgerRow] | None = None
) -> LedgerRow | None:
    """Return the ledger entry so many steps below the current one, as on a stack.

    A promotion pushes a version on top; a rollback removes what lies above its target. So nothing
    returns to a version that was rolled away from, neither from the version below it nor from one
    promoted afterwards. Usually a few entries are enough; more are read where a rollback went
    further back.

    Args:
        conn: A transaction.
        channel: The channel.
        steps: How many.
        near: The newest `NEAR` entries of its ledger, where they were read in this transaction.
    """
    for depth in (NEAR, _LEDGER_DEPTH):
        if near is not None and depth == NEAR:
            ledger = near
        else:
            ledger = queries.ledger_rows(conn, channel.id, limit=depth)
        stack, is_closed = stack_ledger(ledger)
        below = _below(stack)
        if len(ledger) < depth or depth == _LEDGER_DEPTH or (is_closed and len(below) >= steps):
            return next(iter(below[steps - 1 :]), None)
    return None


def stack_ledger(ledger: Sequence[LedgerRow]) -> tuple[list[LedgerRow], bool]:
    """Stack the entries of a ledger, newest first; return the stack with the current entry last.

    Also return whether the stack is closed: each rollback found its target on it, so no older entry
    could change it.
    """
    stack: list[LedgerRow] = []
    places: dict[int | None, list[int]] = {}  # of each version, where it lies, the lowest first
    is_closed = True
    for row in reversed(ledger):
        if row.kind not in _MOVES:
            continue
        at = places.setdefault(row.version_id, [])
        if row.kind == "rollback" and at:
            for above in stack[at[-1] + 1 :]:
                places[above.version_id].pop()
            del stack[at[-1] + 1 :]
            continue
        is_closed = is_closed and row.kind == "promote"
        at.append(len(stack))
        stack.append(row)
    return stack, is_closed


def distance(
    conn: sa.Connection, channel: ChannelRow, target: LedgerRow, *, now_us: int, near: Sequence[LedgerRow] = ()
) -> tuple[int, float]:
    """Return how far back a target is: moves since, and seconds since it was last served.

    Args:
        conn: A transaction.
        channel: The channel.
        target: An entry of its ledger.
        now_us: The time, in µs since the epoch.
        near: Its newest entries, where they were read in this transaction; they are enough if the
            target is among them.
    """
    if any(row.number == target.number for row in near):
        return distance_within(near, target, now_us=now_us)
    behind = queries.moves_since(conn, channel.id, target.number, most=_LEDGER_DEPTH + 1)
    left_at_us = queries.left_at(conn, channel.id, present(target.version_id))
    return behind, 0.0 if left_at_us is None else (now_us - left_at_us) / US_PER_S


def distance_within(near: Sequence[LedgerRow], target: LedgerRow, *, now_us: int) -> tuple[int, float]:
    """Return the distance of a target that is among the newest entries of a ledger."""
    behind = sum(row.number > target.number and row.kind in _MOVES for row in near)
    # A freeze is an entry of what is served as well, and may be all that is near of it.
    later = takewhile(lambda row: row.version_id != target.version_id, near)
    moves_away = [row for row in later if row.kind in _MOVES]  # newest first
    return behind, (now_us - moves_away[-1].created_at) / US_PER_S if moves_away else 0.0


def _check_target(
    conn: sa.Connection,
    line: LineRef,
    channel: ChannelRow,
    target: LedgerRow,
    version: VersionRow,
    move: ChannelMove,
    case: GateCase,
    near: Sequence[LedgerRow],
) -> None:
    """Check the target of a rollback: not revoked, its bytes present, no failure.

    Inside the window, an old verdict or none is enough; a standing failure is always refused.
    """
    history = f"deltareg channel history {line} {channel.name}"
    further = f"deltareg rollback {line} --channel {channel.name} --version vN; see: {history}"
    check_standing(case.candidate, fix=further)
    if move.break_glass:
        return
    failed = [ruling for ruling in case.unmet() if ruling.rule in {"failed", "refuted"}]
    if failed:
        gate_error = cast(DeltaregError, refusal(failed))
        message = f"{gate_error.message}, and it would be served again"
        raise GateFailed(message, fix=f"{gate_error.fix}; {further}", problems=gate_error.problems)
    behind, age_s = distance(conn, channel, target, now_us=case.now.now_us, near=near)
    if is_in_window(behind=behind, age_s=age_s, window=case.policy.rollback):
        return
    error = refusal(case.unmet("approvals", "quarantined", "new_base"))
    if error is not None:
        raise error
    due = case.policy.approvals
    if due:
        raise GatePending(
            f"{ref_of(version)} left {channel.name} too long ago to come back without {count(due, 'approval')}",
            fix=f"deltareg promote {ref_of(version)} --channel {channel.name}, which opens a"
            " request; or, when there is no time: --break-glass",
        )
