"""A preview of a move of a channel: where it goes, what the gate says, whom it affects."""

from collections.abc import Sequence

from deltareg.db.channels import before_gate, beside_channels
from deltareg.db.channels.channels import quarantined_numbers
from deltareg.db.channels.ledger import ledger_rows
from deltareg.db.channels.rows import LedgerRow
from deltareg.db.session import read
from deltareg.refs import LineRef, Ref
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Channel
from deltareg.service.channels.fleet import followers_of, show_follower
from deltareg.service.channels.gate import answer_of, gather
from deltareg.service.channels.readiness import look_back, readiness_of
from deltareg.service.channels.roll_back import NEAR
from deltareg.service.clock import rfc3339
from deltareg.service.overview.beside import OpenRequest, open_requests
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_channel, find_version
from deltareg.wire import Answer, FollowerInfo, GateAnswer, ReadinessInfo

_CHOICES = 8
_AGENTS = 200
_MOVES = {"promote", "rollback"}


class RollbackTarget(Answer):
    """A version that a channel served before, with the newest revision that served it."""

    revision: int
    version: int
    at: str
    reason: str


class RollbackPreview(Answer):
    """Where a rollback would go, what it needs, whom it affects, and whether the caller may."""

    line: str
    channel: str
    revision: int
    serves: int | None
    readiness: ReadinessInfo
    others: list[RollbackTarget]
    agents: list[FollowerInfo]
    may_move: bool


class Promotion(Answer):
    """A version before the gate of a channel, and whom its promotion affects.

    `requests` are the open ones for it; `may_promote` says whether the caller has the right.
    """

    revision: int
    serves: int | None
    gate: GateAnswer
    agents: list[FollowerInfo]
    requests: list[OpenRequest]
    may_promote: bool


def show_way_back(registry: Registry, caller: Caller, line: LineRef, name: str) -> RollbackPreview:
    """Show where a rollback of a channel would go now, and where else it could go."""
    caller.require(Right.READ, on=line)
    with read(registry.engine) as conn:
        channel = find_channel(conn, caller, line, name)
        near = ledger_rows(conn, channel.id, limit=NEAR)
        snapshot = look_back(conn, channel, near)
        barred = quarantined_numbers(conn, [channel.id]) if snapshot is None else {}
        agents = followers_of(conn, caller, channel.id, limit=_AGENTS)
    readiness = readiness_of(registry.store, name, snapshot, near)
    serves = near[0].version if near else None
    left_out = {serves, readiness.version}
    left_out |= set(barred.get(channel.id, ()) if snapshot is None else snapshot.quarantined)
    return RollbackPreview(
        line=str(line),
        channel=name,
        revision=channel.revision,
        serves=serves,
        readiness=readiness,
        others=_targets(near, left_out),
        agents=agents,
        may_move=caller.may(Right.PROMOTE, on=Channel(line, name)),
    )


def show_promotion(registry: Registry, caller: Caller, line: LineRef, name: str, *, version: int) -> Promotion:
    """Judge a version by the gate of a channel before it is promoted to it."""
    caller.require(Right.READ, on=line)
    with read(registry.engine) as conn:
        row = find_version(conn, caller, Ref(line, version=version), bare="newest")
        channel = find_channel(conn, caller, line, name)
        combined = before_gate.before_channel(conn, row, channel)
        answer = answer_of(conn, registry, row, name, gather(conn, row, channel, combined))
        beside = beside_channels.beside_channel(conn, channel.delta_id, channel.id)
    newest = combined.one(before_gate.NEWEST)
    return Promotion(
        revision=channel.revision,
        serves=None if newest is None else newest.version,
        gate=answer,
        agents=[show_follower(each) for each in beside.all(beside_channels.FOLLOWERS)],
        requests=open_requests(beside.all(beside_channels.OPEN), version=version),
        may_promote=caller.may(Right.PROMOTE, on=Channel(line, name)),
    )


def _targets(ledger: Sequence[LedgerRow], left_out: set[int | None]) -> list[RollbackTarget]:
    """List versions served before, except the current one and the default target of a rollback."""
    targets: dict[int, RollbackTarget] = {}
    for row in ledger:
        number = row.version
        if number is None or number in left_out or row.kind not in _MOVES:
            continue
        target = RollbackTarget(revision=row.number, version=number, at=rfc3339(row.created_at), reason=row.reason)
        targets.setdefault(number, target)
    return list(targets.values())[:_CHOICES]
