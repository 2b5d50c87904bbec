"""Channels, their ledgers, moves and gates."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from deltareg_cli.terminal.blocks import (
    Block,
    Cell,
    Column,
    FactsBlock,
    LinesBlock,
    Sentence,
    SentencesBlock,
    TableBlock,
    Text,
    TitleBlock,
    Tone,
    tone_word,
)
from deltareg_cli.terminal.wording import moment, short, who
from deltareg_cli.views.policies import floors_in_short, policy_in_short
from deltareg_cli.views.verdicts import told_waiver

if TYPE_CHECKING:
    from deltareg.wire import ChannelInfo, GateAnswer, GlassBroken, Light, MoveResult, ReadinessInfo, RevisionInfo

_VERBS = {"promote": "promoted", "rollback": "rolled back", "freeze": "frozen", "unfreeze": "unfrozen"}
MOST_UNMET = 2
MOVE_FIELDS = ("channel", "revision", "kind", "version", "digest", "previous")


def channel_blocks(channel: "ChannelInfo", line: str, *, now: datetime) -> list[Block]:
    """Show one channel."""
    change = f"{moment(channel.at, now=now)} by {channel.actor}" if channel.at else ""
    return [
        TitleBlock(f"{line}@{channel.channel}", describe_freeze(channel)),
        FactsBlock(
            [
                ("serves", describe_served(channel)),
                ("base", channel.base),
                *[("unfit", Cell(why.message, "bad")) for why in channel.unfit],
                ("revision", str(channel.revision)),
                (_VERBS.get(channel.kind or "", "moved"), change),
                ("reason", channel.reason),
                ("frozen", Cell(channel.frozen_because, "warn")),
                ("asks for", policy_in_short(channel.policy) if channel.policy else _suites(channel)),
                *[("beside that", floor) for floor in floors_in_short(channel.floors)],
                *[("waived", Cell(told_waiver(waiver, now=now), "warn")) for waiver in channel.waivers],
                ("quarantined", Cell(versions(channel.quarantined), "warn")),
                ("digest", channel.digest or ""),
            ]
        ),
        *_show_break_glass(channel, line, now),
    ]


def readiness_blocks(ready: "ReadinessInfo") -> list[Block]:
    """Show where a rollback would go, and whether it would succeed."""
    if not ready.ref:
        return [FactsBlock([("rollback", f"not possible: {_join_messages(ready)}")])]
    where = f"goes to {ready.ref}"
    rows: list[tuple[str, Text | Sequence[Text]]] = [("rollback", [_tone_light(ready.ready), where])]
    rows += [(f"  {light.name}", [_tone_light(light.light), light.message]) for light in ready.lights]
    return [FactsBlock(rows)]


def _join_messages(ready: "ReadinessInfo") -> str:
    return "; ".join(light.message for light in ready.lights)


def reviewed_blocks(move: "GlassBroken", line: str, channel: str, *, now: datetime) -> list[Block]:
    """Show a break-glass move after its review."""
    return [
        LinesBlock([[Cell(f"{line}@{channel}#{move.revision}", "name"), "reviewed"]]),
        FactsBlock([("glass broken", f"{moment(move.at, now=now)} by {move.actor}"), ("reason", move.reason)]),
    ]


def channel_table(channels: Sequence["ChannelInfo"], *, now: datetime) -> TableBlock:
    """Build the table of a line's channels."""
    columns = [
        Column("channel"),
        Column("serves"),
        Column("revision", is_number=True),
        Column("moved"),
        Column("by"),
        Column("quarantined"),
        Column("asks for", is_prose=True),
        Column("reason", is_prose=True),
    ]
    rows: list[list[Text]] = [
        [
            Cell(channel.channel, "name"),
            describe_served(channel),
            str(channel.revision),
            moment(channel.at, now=now) if channel.at else Cell("never", "dim"),
            channel.actor or "",
            Cell(versions(channel.quarantined), "warn"),
            policy_in_short(channel.policy) if channel.policy else _suites(channel),
            _remark(channel, now),
        ]
        for channel in channels
    ]
    return TableBlock(columns, rows, if_empty="no channels")


def ledger_table(revisions: Sequence["RevisionInfo"], *, now: datetime) -> TableBlock:
    """Build the table of a ledger, newest first."""
    columns = [
        Column("revision", is_number=True),
        Column("kind"),
        Column("version"),
        Column("digest"),
        Column("when"),
        Column("by"),
        Column("reason", is_prose=True),
    ]
    rows: list[list[Text]] = [
        [
            Cell(str(revision.revision), "name"),
            tone_word(revision.kind),
            f"v{revision.version}" if revision.version else Cell("-", "dim"),
            Cell(short(revision.digest or ""), "dim"),
            moment(revision.at, now=now),
            who(revision.actor, revision.via),
            _circumstances(revision),
        ]
        for revision in revisions
    ]
    return TableBlock(columns, rows, if_empty="nothing was ever promoted to this channel")


def move_blocks(move: "MoveResult", line: str, *, is_dry: bool = False) -> list[Block]:
    """Show what a move did, or would do."""
    rows = [Sentence(_describe_move(move, is_dry=is_dry), Cell(f"{line}@{move.channel}", "name"))]
    bases = describe_bases(move.previous_base, move.base)
    rows += [Sentence(f"its base changes: {bases}")] if "→" in bases else []
    rows += [Sentence(f"its files say it was trained on {move.base_claim}")] if move.base_claim else []
    back = f"deltareg rollback {line} --channel {move.channel}"
    if move.kind == "promote" and move.previous not in {None, move.version} and not is_dry:
        rows.append(Sentence(f"go back: {back} -m REASON"))
    if move.kind == "rollback" and move.quarantined and not is_dry:
        one = f"v{move.quarantined[0]}" if len(move.quarantined) == 1 else "vN"
        clear = f"deltareg channel clear {line} {move.channel} {one} -m REASON"
        rows.append(Sentence(f"stays off it: {versions(move.quarantined)}; to let it back: {clear}"))
    return [SentencesBlock([row]) for row in rows]


def move_details(move: "MoveResult", *, is_dry: bool = False) -> list[Block]:
    """Show the ledger's entry of a move, and the runs that it queued."""
    return [
        FactsBlock(
            [
                ("base", describe_bases(move.previous_base, move.base)),
                ("its files say", Cell(move.base_claim, "warn")),
                ("revision", str(move.revision)),
                ("digest", move.digest or ""),
                ("verify run", "" if is_dry else ", ".join(move.verify_runs)),
            ]
        )
    ]


def describe_bases(before: str, after: str) -> str:
    """Name the base of what a channel serves and of what it would serve: `llama → qwen`."""
    return f"{before} → {after}" if before and before != after else after


def _describe_move(move: "MoveResult", *, is_dry: bool) -> str:
    """Describe in a clause what a channel serves after a move, and what it served before."""
    now = f"v{move.version}" if move.version else "nothing"
    before = f"v{move.previous}" if move.previous else "nothing"
    verb = "would serve" if is_dry else "serves"
    if move.kind not in {"promote", "rollback"}:
        return f"{'would be' if is_dry else 'is'} {_VERBS.get(move.kind, move.kind)}; it serves {now}"
    if before == now:
        return f"serves {now} already"
    again = " again" if move.kind == "rollback" else ""
    return f"{verb} {now}{again} ({'now' if is_dry else 'before'}: {before})"


def gate_blocks(answer: "GateAnswer") -> list[Block]:
    """Show whether a version may go to a channel, and what is missing; the first few in full."""
    word = Cell("may go to", "good") if answer.allowed else Cell("may NOT go to", "bad")
    blocks: list[Block] = [LinesBlock([[Cell(answer.ref, "name"), word, answer.channel]])]
    bases = describe_bases(answer.served_base, answer.base)
    if "→" in bases:
        blocks.append(SentencesBlock([Sentence(f"the channel's base would change: {bases}")]))
    if answer.base_claim:
        blocks.append(SentencesBlock([Sentence(f"its files say it was trained on {answer.base_claim}")]))
    if " via " in answer.asker:
        blocks.append(SentencesBlock([Sentence(f"asked by {answer.asker}")]))
    if answer.allowed:
        promote = f"promote it: deltareg promote {answer.ref} --channel {answer.channel}"
        return [*blocks, SentencesBlock([Sentence(promote)])]
    shown, others = answer.unmet[:MOST_UNMET], answer.unmet[MOST_UNMET:]
    for rule in shown:
        blocks.append(SentencesBlock([Sentence(rule.message, most_lines=1 if others else 2)], indent=2))
        blocks.append(SentencesBlock([Sentence(rule.fix, Cell("fix:", "good"))], indent=2))
    if others:
        names = ", ".join(rule.rule for rule in others)
        all_of_them = f"deltareg channel policy explain {answer.ref} --channel {answer.channel}"
        blocks.append(SentencesBlock([Sentence(f"unmet as well, {names}: {all_of_them}")]))
    return blocks


def _why(channel: "ChannelInfo") -> str:
    """Return why the channel is frozen, or else the reason of the newest revision."""
    if not channel.is_frozen:
        return channel.reason
    if channel.kind == "freeze":
        return f"{describe_freeze(channel)}: {channel.reason}"
    return f"frozen: {channel.frozen_because}" if channel.frozen_because else describe_freeze(channel)


def _suites(channel: "ChannelInfo") -> str:
    """Name the suites of a server that has no policies yet."""
    return ", ".join(channel.suites)


def describe_review(channel: "ChannelInfo", line: str, *, now: datetime) -> list[Sentence]:
    """Describe the first move past the gate that waits for a review, and who may do that."""
    rows: list[Sentence] = []
    for move in channel.to_review[:1]:
        due, tone = _due(move, now)
        more = f", and {len(channel.to_review) - 1} more" if len(channel.to_review) > 1 else ""
        what = f"#{move.revision} by {move.actor}, {due}{more}: {move.reason}"
        review = f"deltareg channel review {line} {channel.channel} {move.revision} -m TEXT"
        rows.append(Sentence(what, Cell("break-glass:", tone), most_lines=1))
        rows.append(Sentence(f"somebody else reviews it: {review}", Cell("fix:", "good")))
    return rows


def _show_break_glass(channel: "ChannelInfo", line: str, now: datetime) -> list[Block]:
    """Show the break-glass moves that wait for a review."""
    lines: list[Text | Sequence[Text]] = []
    for move in channel.to_review:
        due, tone = _due(move, now)
        what = f"#{move.revision} {move.kind} by {move.actor}: {move.reason}"
        command = f"deltareg channel review {line} {channel.channel} {move.revision} -m TEXT"
        lines += [
            [Cell("break-glass:", "bad"), Cell(f"{due};", tone), what],
            [Cell("  fix:", "good"), f"somebody other than {move.actor}: {command}"],
        ]
    return [LinesBlock(lines)] if lines else []


def _due(move: "GlassBroken", now: datetime) -> tuple[str, Tone]:
    """Format the time by which somebody must have reviewed a move."""
    is_overdue = datetime.fromisoformat(move.due) < now
    due = moment(move.due, now=now)
    return (f"review OVERDUE since {due}", "bad") if is_overdue else (f"review due {due}", "warn")


def _remark(channel: "ChannelInfo", now: datetime) -> str:
    """Return the reason of the newest revision, after the most important warnings."""
    remarks = [f"break-glass #{move.revision}, {_due(move, now)[0]}" for move in channel.to_review]
    return ": ".join([*remarks, why] if (why := _why(channel)) else remarks)


def _circumstances(revision: "RevisionInfo") -> str:
    """Return the reason of a revision, after its end and its circumstances."""
    remarks: list[str] = []
    if revision.break_glass:
        review = f"reviewed by {revision.reviewed_by}" if revision.reviewed_by else "not reviewed"
        review += f" ({revision.review})" if revision.review else ""
        remarks.append(f"break-glass, {review}")
    if revision.request:
        remarks.append(f"request {revision.request}")
    if revision.until:
        remarks.append(f"until {revision.until[:19]}Z")
    return ": ".join([*remarks, revision.reason] if revision.reason else remarks)


def _tone_light(light: "Light") -> Cell:
    tones: dict[Light, Tone] = {"ok": "good", "warn": "warn", "no": "bad"}
    return Cell(light, tones[light])


def describe_freeze(channel: "ChannelInfo") -> str:
    """Describe a channel's freeze and its end; empty when it is not frozen."""
    until = f" until {channel.frozen_until[:19]}Z" if channel.frozen_until else ""
    return f"frozen{until}" if channel.is_frozen else ""


def describe_served(channel: "ChannelInfo") -> Cell:
    """Name the version that a channel serves."""
    if channel.is_revoked:
        return Cell(f"v{channel.version} (revoked)", "bad")
    if channel.unfit:
        return Cell(f"v{channel.version} (unfit)", "bad")
    return Cell(f"v{channel.version}", "name") if channel.version else Cell("nothing", "dim")


def versions(numbers: Sequence[int]) -> str:
    """Format the numbers of versions of a line."""
    return ", ".join(f"v{number}" for number in numbers)
