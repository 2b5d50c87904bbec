"""A suite that was drafted: its samples, its margins, what it misses, and what to do next."""

import shlex
from collections.abc import Sequence
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
)
from deltareg_cli.terminal.wording import count

if TYPE_CHECKING:
    from deltareg.client.drafting.draft_suite import DraftedSuite
    from deltareg.suites.drafting.draft import DraftComparison


def drafted_answer(found: "DraftedSuite", notes: Sequence[str]) -> CommandResult:
    """Show the suite that was written."""
    from deltareg.client.drafting.draft_suite import describe_draft

    draft, source = found.draft, found.draft.source
    steps = _steps(found)
    document = {**describe_draft(found), "next": steps}
    left = [
        f"{count(source.repeats, 'repeat')}" if source.repeats else "",
        f"{source.leaked:,} that training has seen" if source.leaked else "",
    ]
    power = draft.sized.power
    blocks: list[Block] = [
        TitleBlock(draft.name, str(found.path)),
        FactsBlock(
            [
                ("for", draft.line),
                ("task", [source.task, Cell(source.by, "dim")]),
                ("samples", f"{draft.n:,} of {count(source.rows, 'row')}"),
                ("without", ", ".join(part for part in left if part)),
                ("training", source.training or Cell("nobody said what it was: --training", "warn")),
                ("power", _power(power)),
                ("general text", Cell(draft.general.describe(), "" if draft.general.texts else "dim")),
                ("rest", "" if found.rest is None else f"{found.rest}, to train on"),
                ("files", ", ".join(found.files)),
            ]
        ),
        TitleBlock("Asks", "what too few samples decide warns, and keeps channels closed"),
        TableBlock(
            [Column("check"), Column("measure"), Column("asks for", is_prose=True)],
            [_row(one) for one in draft.comparisons],
        ),
        TitleBlock("Lets through"),
        FactsBlock([(one.name, one.misses) for one in draft.comparisons]),
        *_show_notes(notes),
        TitleBlock("Next"),
        LinesBlock([[Cell("  " + step, "name")] for step in steps]),
    ]
    return CommandResult(document, blocks, [str(found.path)])


def _show_notes(notes: Sequence[str]) -> list[Block]:
    return [TitleBlock("Notes"), LinesBlock(list(notes))] if notes else []


def _row(one: "DraftComparison") -> list[Text]:
    return [Cell(one.name, "name"), one.measure.description, one.why]


def _power(shown: float) -> Text:
    text = f"{round(100 * shown)} % of versions that lost nothing pass `kept`"
    return text if shown >= 0.79 else Cell(f"only {text}: bring more samples", "warn")


def _steps(found: "DraftedSuite") -> list[str]:
    """Return the commands that come next."""
    path, draft = shlex.quote(str(found.path)), found.draft
    return [
        f"deltareg suite backtest {path} {draft.line}",
        f"deltareg suite push {path}",
        f"deltareg verify {draft.line} --suite {draft.name} --wait",
        f"deltareg channel policy get {draft.line} prod   # then add {draft.name} to its suites",
    ]
