"""The differences between two versions, as blocks and as Markdown."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from deltareg.client.results.general import GENERAL_COLUMNS, GENERAL_TITLE, general_rows
from deltareg_cli.terminal.blocks import Block, Cell, Column, FactsBlock, LinesBlock, TableBlock, Text, TitleBlock
from deltareg_cli.terminal.markdown import code, prose
from deltareg_cli.terminal.wording import number, short

if TYPE_CHECKING:
    from deltareg.client import DiffReport
    from deltareg.delta.compare import FieldChange
    from deltareg.wire.findings import GeneralFound

MOST_NAMES = 3
_CONFIG = "config."
COLUMNS = ("apart", "cosine", "rank a", "rank b", "overlap")


def difference_blocks(report: "DiffReport") -> list[Block]:
    """Show a comparison, without what does not differ."""
    blocks: list[Block] = [TitleBlock(f"{report.a.ref} → {report.b.ref}")]
    if not report.is_different:
        return [*blocks, LinesBlock([Cell("no difference", "good")])]
    blocks.append(FactsBlock(_changes(report)))
    if report.modules:
        columns = [Column("module", is_prose=True)]
        columns += [Column(title, is_number=True) for title in COLUMNS]
        rows: list[list[Text]] = [[Cell(name, "name"), *values] for name, values in _rows(report)]
        blocks += [TitleBlock("Modules", "those that differ most first"), TableBlock(columns, rows)]
    if report.note:
        blocks.append(LinesBlock([Cell(report.note, "dim")]))
    return blocks if report.general is None else [*blocks, *_general_blocks(report.general)]


def to_markdown(report: "DiffReport") -> str:
    """Write a comparison as Markdown, for a comment or a page."""
    lines = [f"### {code(report.a.ref)} → {code(report.b.ref)}", ""]
    changes = _changes(report) if report.is_different else []
    lines += [f"- **{label}**: {prose(text)}" for label, text in changes] or ["No difference."]
    if changes and report.modules:
        lines += ["", f"| module | {' | '.join(COLUMNS)} |", f"|---|{'---:|' * len(COLUMNS)}"]
        lines += [f"| {code(name)} | {' | '.join(values)} |" for name, values in _rows(report)]
    if report.note:
        lines += ["", prose(report.note)]
    rows = [] if report.general is None else general_rows(report.general)
    if rows:
        heads = GENERAL_COLUMNS
        lines += ["", f"| {GENERAL_TITLE.lower()} | {' | '.join(heads)} |"]
        lines += [f"|---|{'---:|' * len(heads)}"]
        lines += [f"| {prose(name)} | {' | '.join(cells)} |" for name, cells in rows]
    return "\n".join(lines) + "\n"


def _general_blocks(general: "GeneralFound") -> list[Block]:
    """Show what both versions do on the general probes of their base."""
    columns = [Column("figure", is_prose=True)]
    columns += [Column(title, is_number=True) for title in GENERAL_COLUMNS]
    rows: list[list[Text]] = [[name, *cells] for name, cells in general_rows(general)]
    blocks: list[Block] = [TitleBlock(GENERAL_TITLE, "95 % intervals over the texts")]
    if rows:
        blocks.append(TableBlock(columns, rows))
    return [*blocks, LinesBlock([Cell(general.note, "dim")])] if general.note else blocks


def _changes(report: "DiffReport") -> list[tuple[str, str]]:
    tensors = report.tensors
    counts = [
        (len(tensors.changed), "changed"),
        (len(tensors.added), "added"),
        (len(tensors.removed), "removed"),
        (tensors.identical, "identical"),
    ]
    is_other_kind = any(change.field == "kind" for change in report.config)
    fields = [c for c in report.config if not (is_other_kind and (c.a is None or c.b is None))]
    rows = [
        ("kind", ", ".join(_describe_change(c) for c in fields if not c.field.startswith(_CONFIG))),
        ("files", ", ".join(f"{file.path} {file.change}" for file in report.files)),
        ("config", ", ".join(_describe_change(c) for c in fields if c.field.startswith(_CONFIG))),
        ("tensors", ", ".join(f"{count:,} {word}" for count, word in counts if count)),
        ("added", _some(tensors.added)),
        ("removed", _some(tensors.removed)),
    ]
    return [(label, text) for label, text in rows if text]


def _describe_change(change: "FieldChange") -> str:
    label = "" if change.field == "kind" else f"{change.field} "  # the line is called so already
    return f"{label}{_value(change.a)} → {_value(change.b)}"


def _rows(report: "DiffReport") -> list[tuple[str, list[str]]]:
    return [
        (
            module.module,
            [
                _measure(module.relative_norm),
                _measure(module.cosine),
                number(module.rank_a),
                number(module.rank_b),
                _measure(module.overlap),
            ],
        )
        for module in report.modules
    ]


def _some(names: Sequence[str]) -> str:
    """Name the first few of many."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{', '.join(names[:MOST_NAMES])}{more}"


def _measure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _value(value: object) -> str:
    return "none" if value is None or value == "" else short(str(value))
