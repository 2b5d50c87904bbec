"""The result of a bisection, as a document and as blocks."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from deltareg_cli.terminal.blocks import (
    Block,
    Cell,
    Column,
    CommandResult,
    FactsBlock,
    LinesBlock,
    TableBlock,
    Text,
    TitleBlock,
    Tone,
)
from deltareg_cli.terminal.wording import clean, count, number

if TYPE_CHECKING:
    from deltareg.client.compare.bisect import BisectionStep, BisectReport

_TONES: dict[str, Tone] = {"good": "good", "bad": "bad", "skip": "warn"}


def step_line(step: "BisectionStep") -> str:
    """Format a step on one line, for the note that appears when it is taken."""
    value = "" if step.value is None else f"  {number(step.value)}"
    where = f"  verdict {step.verdict}" if step.verdict else ""
    detail = f"  {step.detail}" if step.detail else ""
    return clean(f"{step.ref}  {step.mark}{value}  {step.source}{where}{detail}")


def bisect_answer(report: "BisectReport", *, diff_options: str) -> CommandResult:
    """Show a bisection.

    Args:
        report: The result.
        diff_options: The options after the two versions in the command to run next.
    """
    bounds = report.bounds
    good, bad = report.step(bounds.good), report.step(bounds.bad)
    skipped = [f"{report.line}:v{n}" for n in bounds.skipped]
    deleted = [f"{report.line}:v{n}" for n in report.deleted]
    following = f"deltareg diff {good.ref} {bad.ref} {diff_options}".strip()
    document: dict[str, object] = {
        "line": report.line,
        "is_found": bounds.is_found,
        "first_bad": bad.ref if bounds.is_found else None,
        "last_good": good.ref,
        "known_bad": bad.ref,
        "between": skipped,
        "deleted": deleted,
        "steps": [asdict(step) for step in report.steps],
        "next": following,
    }
    title = (
        TitleBlock(f"first bad version: {bad.ref}")
        if bounds.is_found
        else TitleBlock(f"the first bad version is one of {len(skipped) + 1}", "the rest was skipped")
    )
    facts = FactsBlock(
        [
            ("last good", _describe_step(good)),
            ("skipped", ", ".join(skipped)),
            ("deleted", ", ".join(deleted)),
            ("first bad" if bounds.is_found else "known bad", _describe_step(bad)),
            ("judged", _cost(report)),
        ]
    )
    blocks: list[Block] = [title, facts, TitleBlock("Steps"), _steps(report)]
    blocks.append(LinesBlock(["", [Cell("next:", "dim"), following]]))
    return CommandResult(document, blocks, [bad.ref] if bounds.is_found else [])


def _describe_step(step: "BisectionStep") -> list[Text]:
    value = Cell("" if step.value is None else number(step.value), _TONES[step.mark])
    return [Cell(step.ref, "name"), value]


def _cost(report: "BisectReport") -> str:
    cached = sum(step.source == "cached" for step in report.steps)
    text = count(len(report.steps), "version")
    return f"{text}, {cached} of them by verdicts that were there" if cached else text


def _steps(report: "BisectReport") -> TableBlock:
    columns = [
        Column("version"),
        Column("is"),
        Column("value", is_number=True),
        Column("by"),
        Column("verdict"),
        Column("why", is_prose=True),
    ]
    rows: list[list[Text]] = [
        [
            Cell(step.ref, "name"),
            Cell(step.mark, _TONES[step.mark]),
            number(step.value),
            step.source,
            step.verdict or Cell("-", "dim"),
            step.detail,
        ]
        for step in report.steps
    ]
    return TableBlock(columns, rows)
