"""What a bisection found, as a document and as blocks."""

from dataclasses import asdict

from deltareg.client.compare.bisect import BisectReport, Step
from deltareg_cli.terminal.blocks import (
    Answer,
    Block,
    Cell,
    Column,
    Facts,
    Lines,
    Table,
    Text,
    Title,
    Tone,
)
from deltareg_cli.terminal.wording import clean, count, number

_TONES: dict[str, Tone] = {"good": "good", "bad": "bad", "skip": "warn"}


def step_line(step: Step) -> str:
    """Write a step on one line, for the note that is shown when it is taken."""
    value = "" if step.value is None else f"  {number(step.value)}"
    where = f"  verdict {step.verdict}" if step.verdict else ""
    detail = f"  {step.detail}" if step.detail else ""
    return clean(f"{step.ref}  {step.mark}{value}  {step.source}{where}{detail}")


def bisect_answer(report: BisectReport, *, diff_options: str) -> Answer:
    """Show a bisection.

    Args:
        report: What was found.
        diff_options: What goes behind the two versions in the command that is to be run next.
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
        Title(f"first bad version: {bad.ref}") if bounds.is_found
        else Title(f"the first bad version is one of {len(skipped) + 1}", "the rest was skipped")
    )  # fmt: skip
    facts = Facts([
        ("last good", _told(good)),
        ("skipped", ", ".join(skipped)), ("deleted", ", ".join(deleted)),
        ("first bad" if bounds.is_found else "known bad", _told(bad)),
        ("judged", _cost(report)),
    ])  # fmt: skip
    blocks: list[Block] = [title, facts, Title("Steps"), _steps(report)]
    blocks.append(Lines(["", [Cell("next:", "dim"), following]]))
    return Answer(document, blocks, [bad.ref] if bounds.is_found else [])


def _told(step: Step) -> list[Text]:
    value = Cell("" if step.value is None else number(step.value), _TONES[step.mark])
    return [Cell(step.ref, "name"), value]


def _cost(report: BisectReport) -> str:
    cached = sum(step.source == "cached" for step in report.steps)
    told = count(len(report.steps), "version")
    return f"{told}, {cached} of them by verdicts that were there" if cached else told


def _steps(report: BisectReport) -> Table:
    columns = [
        Column("version"), Column("is"), Column("value", is_number=True), Column("by"),
        Column("verdict"), Column("why", is_prose=True),
    ]  # fmt: skip
    rows: list[list[Text]] = [
        [
            Cell(step.ref, "name"), Cell(step.mark, _TONES[step.mark]), number(step.value),
            step.source, step.verdict or Cell("-", "dim"), step.detail,
        ]
        for step in report.steps
    ]  # fmt: skip
    return Table(columns, rows)
