"""What a channel serves, in a few lines: the version, the hosts, a rollback, what waits and what is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from deltareg_cli.terminal.blocks import Block, Cell, Sentence, SentencesBlock
from deltareg_cli.terminal.wording import count, moment
from deltareg_cli.views.channels import describe_freeze, describe_review, describe_served, versions
from deltareg_cli.views.fleet import describe_agents
from deltareg_cli.views.policies import policy_in_short

if TYPE_CHECKING:
    from deltareg.wire import ChannelInfo, FollowerInfo, ReadinessInfo, RequestInfo

_MOST_LINES = 8
_VERBS = {"promote": "promoted", "rollback": "rolled back", "freeze": "frozen", "unfreeze": "unfrozen"}


@dataclass(frozen=True, slots=True)
class ChannelSurroundings:
    """What is known of a channel beside itself; empty for a channel as it was at another time.

    Attributes:
        ready: Where a rollback would go.
        followers: The hosts that follow it.
        requests: The promotions that wait for approvals.
    """

    ready: "ReadinessInfo | None" = None
    followers: Sequence["FollowerInfo"] = ()
    requests: Sequence["RequestInfo"] = ()


def channel_answer(
    channel: "ChannelInfo", line: str, *, now: datetime, beside: ChannelSurroundings | None = None
) -> list[Block]:
    """Show a channel in at most eight lines, what is wrong before what is as it should be."""
    beside = beside or ChannelSurroundings()
    rows = [
        Sentence(_describe_served(channel, now=now), Cell(f"{line}@{channel.channel}", "name")),
        *(Sentence(why.message, Cell("unfit:", "bad")) for why in channel.unfit[:1]),
        *describe_review(channel, line, now=now),
    ]
    if channel.is_frozen:
        why = channel.frozen_because or (channel.reason if channel.kind == "freeze" else "")
        rows.append(Sentence(f"{why}" or "nothing moves it", Cell(f"{describe_freeze(channel)}:", "warn")))
    rows += [Sentence(text) for text in describe_agents(beside.followers)]
    rows += [
        Sentence(
            f"v{request.version} waits for {count(request.missing, 'approval')}: deltareg request show {request.id}"
        )
        for request in beside.requests[:1]
    ]
    if beside.ready is not None:
        rows.append(Sentence(_describe_rollback(beside.ready)))
    if channel.quarantined:
        kept = versions(channel.quarantined)
        clear = f"deltareg channel clear {line} {channel.channel} v{channel.quarantined[0]} -m REASON"
        rows.append(Sentence(f"rolled back and kept off it, {kept}; let it back: {clear}"))
    asked = policy_in_short(channel.policy) if channel.policy else ", ".join(channel.suites)
    if asked:
        rows.append(Sentence(f"asks for: {asked}", most_lines=1))
    return [SentencesBlock([row]) for row in rows[:_MOST_LINES]]


def _describe_served(channel: "ChannelInfo", *, now: datetime) -> str:
    """Describe what a channel serves, since when and by whom."""
    if not channel.at:
        return f"serves {describe_served(channel).text}"
    reason = f': "{channel.reason}"' if channel.reason else ""
    verb = _VERBS.get(channel.kind or "", "moved")
    return f"serves {describe_served(channel).text}, {verb} {moment(channel.at, now=now)} by {channel.actor}{reason}"


def _describe_rollback(ready: "ReadinessInfo") -> str:
    """Describe where a rollback would go, and what is in its way."""
    obstacles = [light.message for light in ready.lights if light.light != "ok"]
    if ready.ref is None:
        return f"nothing to roll back to: {obstacles[0]}" if obstacles else "nothing to roll back to"
    goal = f"v{ready.version}"
    if ready.ready == "no":
        return f"cannot be rolled back to {goal}: {obstacles[0]}"
    return f"can be rolled back to {goal}, but: {obstacles[0]}" if obstacles else f"can be rolled back to {goal}"
