"""A version before the gate of a channel, with the other channels and the open requests."""

from deltareg.db.channels import beside_channels
from deltareg.db.session import read
from deltareg.refs import Ref
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Channel
from deltareg.service.channels.gate import answer_of, gather
from deltareg.service.overview.beside import OpenRequest, open_requests
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_channel, find_version
from deltareg.wire import Answer, GateAnswer


class GateOverview(Answer):
    """The decision of a gate about a version, and what people need beside it.

    Attributes:
        gate: The answer of the gate.
        serves: What the channel serves now; None for nothing.
        names: The channels of the line, in the order of their creation.
        requests: The open requests for this version on this channel.
        may_promote: Whether the caller has the right to move the channel.
    """

    gate: GateAnswer
    serves: int | None
    names: list[str]
    requests: list[OpenRequest]
    may_promote: bool


def show_gate_around(registry: Registry, caller: Caller, ref: Ref, channel: str) -> GateOverview:
    """Judge a version by every rule of a channel; changes nothing."""
    caller.require(Right.READ, on=ref.line)
    with read(registry.engine) as conn:
        version = find_version(conn, caller, ref, bare="newest")
        row = find_channel(conn, caller, ref.line, channel)
        gate = answer_of(conn, registry, version, channel, gather(conn, version, row))
        number = version.number
        beside = beside_channels.beside_line(conn, version.delta_id, versions_from=number, versions_to=number)
    serves = {each.name: each.version for each in beside.all(beside_channels.NAMES)}
    waits = open_requests(beside.all(beside_channels.OPEN), version=number)
    return GateOverview(
        gate=gate,
        serves=serves[channel],
        names=list(serves),
        requests=[request for request in waits if request.channel == channel],
        may_promote=caller.may(Right.PROMOTE, on=Channel(ref.line, channel)),
    )
