"""Followers: what each serves beside what its channel says, and what an agent does."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from deltareg_cli.terminal.blocks import (
    Block,
    Cell,
    Column,
    LinesBlock,
    Sentence,
    SentencesBlock,
    TableBlock,
    Text,
    TitleBlock,
    Tone,
)
from deltareg_cli.terminal.wording import count, seconds, short, size

if TYPE_CHECKING:
    from deltareg.client.follow import FollowEvent
    from deltareg.wire import FollowerInfo, Observed

_MOST_NAMED = 3
_MOST_AGENTS = 5
_TONES: dict[str, Tone] = {"none": "good", "behind": "warn", "failed": "bad", "silent": "bad"}
_BASE_TONES: dict[str, Tone] = {"checked": "good", "unchecked": "warn", "wrong": "bad"}


def fleet_table(
    followers: Sequence["FollowerInfo"], *, if_empty: str = "nobody follows: deltareg agent run --help"
) -> TableBlock:
    """Build the table of the followers of several channels."""
    columns = [
        Column("agent"),
        Column("channel"),
        Column("says"),
        Column("serves"),
        Column("drift"),
        Column("engine"),
        Column("base"),
        Column("reported"),
        Column("error", is_prose=True),
    ]
    rows: list[list[Text]] = [
        [
            Cell(follower.agent, "name"),
            follower.channel,
            _version(follower.desired_version),
            _version(follower.version),
            _drift(follower),
            follower.engine,
            _base(follower.base),
            f"{seconds(follower.seen_age_s)} ago",
            _wrong(follower),
        ]
        for follower in followers
    ]
    return TableBlock(columns, rows, if_empty=if_empty)


def describe_agents(followers: Sequence["FollowerInfo"]) -> list[str]:
    """Describe who serves what its channel says, and who does not; empty where nobody follows."""
    if not followers:
        return []
    right = [follower for follower in followers if follower.drift == "none"]
    wrong = [follower for follower in followers if follower.drift != "none"]
    unsure = sum(1 for follower in right if follower.base == "unchecked")
    serve = (
        f"{count(len(right), 'agent')} {'serves' if len(right) == 1 else 'serve'} it" if right else "no agent serves it"
    )
    if unsure:
        serve += " (base unchecked)" if unsure == len(right) else f" ({unsure} with an unchecked base)"
    if not wrong:
        return [serve]
    named = [_describe_agent(follower) for follower in wrong[:_MOST_NAMED]]
    more = f", and {len(wrong) - _MOST_NAMED} more" if len(wrong) > _MOST_NAMED else ""
    return [f"{serve}; not: {', '.join(named)}{more}"]


def fleet_answer(followers: Sequence["FollowerInfo"]) -> list[Block]:
    """Show agents in at most eight lines: how many are right, then those that are not, then others."""
    if not followers:
        return [fleet_table(followers)]
    wrong = [follower for follower in followers if follower.drift != "none"]
    right = [follower for follower in followers if follower.drift == "none"]
    blocks: list[Block] = [LinesBlock([_describe_fleet(len(right), len(wrong))])]
    blocks.append(_short_fleet_table([*wrong, *right][:_MOST_AGENTS]))
    if len(followers) > _MOST_AGENTS:
        blocks.append(SentencesBlock([Sentence(f"and {len(followers) - _MOST_AGENTS} more: deltareg fleet ls --all")]))
    return blocks


def _describe_fleet(right: int, wrong: int) -> list[Text]:
    says = f"{'serves' if right == 1 else 'serve'} what {'its' if right == 1 else 'their'} channel says"
    if not wrong:
        return [count(right, "agent"), Cell(says, "good")]
    does = f"{wrong} {'does' if wrong == 1 else 'do'} NOT"
    return [f"{count(right, 'agent')} {says},", Cell(does, "bad")]


def _short_fleet_table(followers: Sequence["FollowerInfo"]) -> TableBlock:
    """Build the table of agents without engine and base, each on one line."""
    columns = [
        Column("agent"),
        Column("channel"),
        Column("says"),
        Column("serves"),
        Column("drift"),
        Column("reported"),
    ]
    rows: list[list[Text]] = [
        [
            Cell(follower.agent, "name"),
            follower.channel,
            _version(follower.desired_version),
            _version(follower.version),
            _drift(follower),
            f"{seconds(follower.seen_age_s)} ago",
        ]
        for follower in followers
    ]
    return TableBlock(columns, rows)


def _describe_agent(follower: "FollowerInfo") -> str:
    serves = "nothing" if follower.version is None else f"v{follower.version}"
    return f"{follower.agent} ({follower.drift}, {serves})"


def followers_of_channel(followers: Sequence["FollowerInfo"]) -> list[Block]:
    """Show who follows one channel; empty where nobody does."""
    if not followers:
        return []
    columns = [
        Column("agent"),
        Column("serves"),
        Column("drift"),
        Column("engine"),
        Column("base"),
        Column("reported"),
        Column("error", is_prose=True),
    ]
    rows: list[list[Text]] = [
        [
            Cell(follower.agent, "name"),
            _version(follower.version),
            _drift(follower),
            follower.engine,
            _base(follower.base),
            f"{seconds(follower.seen_age_s)} ago",
            _wrong(follower),
        ]
        for follower in followers
    ]
    says = _version(followers[0].desired_version)
    text = says if isinstance(says, str) else says.text
    return [TitleBlock("Followers", f"the channel says {text}"), TableBlock(columns, rows)]


def event_blocks(event: "FollowEvent") -> list[Block]:
    """Show in one line what changed on this host."""
    observed = event.observed
    channel = Cell(observed.channel, "name")
    if observed.state == "ok" and observed.trouble:
        return [LinesBlock([[channel, Cell("beside that:", "warn"), observed.trouble]])]
    if observed.state == "failed":
        remaining = f"; serves v{observed.version} on" if observed.version else ""
        return [LinesBlock([[channel, Cell("failed:", "bad"), f"{observed.error}{remaining}"]])]
    if observed.state == "pulling":
        return [LinesBlock([[channel, Cell("brings what the channel says now", "dim")]])]
    before = "" if event.previous in {None, observed.version} else f", was v{event.previous}"
    fetched, took = size(event.fetched_bytes), seconds(event.seconds)
    details = f"(revision {observed.revision}, {fetched} fetched, took {took})"
    return [
        LinesBlock(
            [
                [
                    channel,
                    Cell(f"serves v{observed.version}{before}", "good"),
                    f"as {event.served}",
                    Cell(details, "dim"),
                    _describe_base_check(observed),
                ]
            ]
        )
    ]


def observed_table(observed: Sequence["Observed"]) -> TableBlock:
    """Build the table of an agent's channels and what it serves of each."""
    columns = [
        Column("channel"),
        Column("revision", is_number=True),
        Column("serves"),
        Column("digest"),
        Column("base"),
        Column("trouble", is_prose=True),
    ]
    rows: list[list[Text]] = [
        [
            Cell(each.channel, "name"),
            str(each.revision),
            _version(each.version),
            Cell(short(each.digest or ""), "dim"),
            _base(each.base),
            each.trouble,
        ]
        for each in observed
    ]
    return TableBlock(columns, rows)


def _version(number: int | None) -> Text:
    return Cell("nothing", "dim") if number is None else f"v{number}"


def _base(state: str) -> Cell:
    return Cell(state, _BASE_TONES.get(state, ""))


def _describe_base_check(observed: "Observed") -> Cell:
    return Cell("", "") if observed.base == "checked" else Cell("base unchecked", "warn")


def _wrong(follower: "FollowerInfo") -> str:
    return "; ".join(text for text in (follower.error, follower.trouble) if text)


def _drift(follower: "FollowerInfo") -> Cell:
    if follower.is_revoked and follower.drift == "behind":
        return Cell("revoked", "bad")
    return Cell(follower.drift, _TONES.get(follower.drift, ""))
