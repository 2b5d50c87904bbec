"""Operations that a registry does by itself, and rules of retention, as people see them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from deltareg_cli.terminal.blocks import Block, Cell, Column, FactsBlock, LinesBlock, TableBlock, Text, TitleBlock, Tone
from deltareg_cli.terminal.wording import count, moment, seconds, size

if TYPE_CHECKING:
    from deltareg.wire import OperationInfo, RetentionInfo, RetentionRuleInfo

_TONES: Mapping[str, Tone] = {"running": "name", "paused": "warn", "off": "dim"}
_DAY_S = 86_400.0
_UNITS = ((_DAY_S, "d"), (3_600.0, "h"), (60.0, "m"))


def operation_table(operations: Sequence["OperationInfo"], *, now: datetime) -> TableBlock:
    """Build the table of operations, a row for each."""
    columns = [Column("operation"), Column("now"), Column("every"), Column("due"), Column("last"), Column("came of it")]
    rows: list[list[Text]] = []
    for each in operations:
        outcome: Text = Cell("fails", "bad") if each.failure else _counts(each.outcome) if each.ended_at else ""
        rows.append(
            [
                Cell(each.kind, "name"),
                Cell(each.state, _TONES.get(each.state, "")),
                _every(each.every_s),
                _moment(each.due_at, now),
                _moment(each.ended_at, now),
                outcome,
            ]
        )
    return TableBlock(columns, rows, if_empty="no server has begun with it yet")


def operation_blocks(each: "OperationInfo", *, now: datetime) -> list[Block]:
    """Show one operation: what it does, how far it is, and what came of the last round."""
    under_way = ""
    if each.is_under_way:
        of = f" of {each.total:,}" if each.total else ""
        under_way = f"{each.done:,}{of} since {_moment(each.started_at, now)}"
    return [
        TitleBlock(each.kind, each.about),
        FactsBlock(
            [
                ("now", Cell(each.state, _TONES.get(each.state, ""))),
                ("under way", under_way),
                ("so far", _counts(each.counts) if each.is_under_way else ""),
                ("every", f"{_every(each.every_s)}, at most {each.percent} % of a process"),
                ("due", _moment(each.due_at, now)),
                ("last", _moment(each.ended_at, now)),
                ("came of it", _counts(each.outcome) if each.ended_at else ""),
                ("fails", Cell(each.failure, "bad") if each.failure else ""),
            ]
        ),
    ]


def retention_blocks(info: "RetentionInfo", *, dry_run: bool = False) -> list[Block]:
    """Show what a namespace or a line keeps, and what goes."""
    plan = info.plan
    goes = f"{plan.versions:,} of {count(plan.of, 'version')}, {size(plan.bytes)}"
    kept = ", ".join(f"{number:,} {why}" for why, number in sorted(plan.kept.items()))
    rules = [_rule(rule) for rule in info.rules] or ["everything: there is no rule"]
    shown = plan.refs[:3]
    more = f" and {plan.versions - len(shown):,} more" if plan.versions > len(shown) else ""
    facts = FactsBlock(
        [
            ("would go" if dry_run else "goes", goes),
            ("such as", f"{', '.join(shown)}{more}" if shown else ""),
            ("stays", kept),
            ("for", info.set_by),
        ]
    )
    return [TitleBlock(info.of, "keeps"), LinesBlock([f"  {text}" for text in rules]), facts]


def _rule(rule: "RetentionRuleInfo") -> str:
    kept = [
        f"the last {rule.last:,}" if rule.last is not None else "",
        f"younger than {seconds(rule.days * _DAY_S)}" if rule.days is not None else "",
        "promoted" if rule.promoted else "",
        "with a semantic version" if rule.semver else "",
        f"labelled {' or '.join(rule.labels)}" if rule.labels else "",
    ]
    of = f"of kind {rule.kind}: " if rule.kind else ""
    return f"{of}{'; '.join(filter(None, kept)) or 'nothing'}"


def _counts(counts: Mapping[str, int]) -> str:
    shown = [
        size(number) if name == "bytes" else count(number, name.removesuffix("s"), name)
        for name, number in counts.items()
    ]
    return ", ".join(shown) or "nothing to do"


def _every(seconds: float) -> str:
    if not seconds:
        return "never by itself"
    for unit, name in _UNITS:
        if seconds >= unit:
            return f"{seconds / unit:g}{name}"
    return f"{seconds:g}s"


def _moment(at: str | None, now: datetime) -> Text:
    return moment(at, now=now) if at else Cell("-", "dim")
