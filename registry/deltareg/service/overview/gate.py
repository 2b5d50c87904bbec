"""A version before the gate of a channel, with what else there is to choose and to wait for."""

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
    """What the gate of a channel says of a version.

    Attributes:
        gate: Its answer.
        serves: What the channel serves now; None for nothing.
        names: The channels of the line, in the order that they were made.
        requests: Those that are open for this version on this channel.
        may_promote: Whether the caller may move the channel by their rights.
    """

    gate: GateAnswer
    serves: int | None
    names: list[str]
    requests: list[OpenRequest]
    may_promote: bool


def show_gate_around(registry: Registry, caller: Caller, ref: Ref, channel: str) -> GateOverview:
    """Hold a version against every rule of a channel; changes nothing."""
    caller.require(Right.READ, on=ref.line)
    with read(registry.engine) as conn:
        version = find_version(conn, caller, ref, bare="newest")
        row = find_channel(conn, caller, ref.line, channel)
        gate = answer_of(conn, registry, version, channel, gather(conn, version, row))
        beside = beside_channels.beside_line(conn, version.delta_id)
    serves = {each.name: each.version for each in beside.all(beside_channels.NAMES)}
    waits = open_requests(beside.all(beside_channels.OPEN), version=version.number)
    return GateOverview(
        gate=gate,
        serves=serves[channel],
        names=list(serves),
        requests=[request for request in waits if request.channel == channel],
        may_promote=caller.may(Right.PROMOTE, on=Channel(ref.line, channel)),
    )
