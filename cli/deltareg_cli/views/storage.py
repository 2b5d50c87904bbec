"""What is stored and what was saved, as a balance and as rows that fit the terminal."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from deltareg_cli.terminal.blocks import Block, Cell, Column, TableBlock, Text, TitleBlock
from deltareg_cli.terminal.drawing import GAP, DrawingSurface
from deltareg_cli.terminal.wording import count, size

if TYPE_CHECKING:
    from deltareg.wire import StorageFigures, StorageReport, StorageRow, StoreBytes

_TITLES = {"registry": "namespace", "namespace": "line", "line": "version", "version": "version"}
_COLUMNS: dict[str, Callable[["StorageRow"], str]] = {
    "versions": lambda row: f"{row.versions:,}" if row.versions else "-",
    "logical": lambda row: size(row.logical_bytes),
    "packs": lambda row: size(row.pack_bytes),
    "ratio": lambda row: "-" if row.ratio is None else f"{row.ratio:,.1f}",
    "reference": lambda row: _part(row.saved_by_references, row),
    "dedup": lambda row: _part(row.saved_by_dedup, row),
    "entropy": lambda row: _part(row.saved_by_entropy, row),
}
_HOW = "and what references, dedup and entropy saved"
# What a narrow terminal does without, in this order.
_DROPPED_FIRST = ("versions", "ratio", "entropy", "dedup", "reference")


def storage_blocks(report: "StorageReport", surface: DrawingSurface) -> list[Block]:
    """Show a report: the balance, the content of the store, then the parts and the kinds."""
    blocks: list[Block] = [TitleBlock(report.name or report.of, _contents(report.total))]
    blocks.append(_account(report.total))
    if report.store is not None:
        blocks += [TitleBlock("in the store"), _store(report.store)]
    for title, rows in ((_TITLES[report.of], report.parts), ("kind", report.kinds)):
        if len(rows) > 1:
            blocks += [TitleBlock(f"by {title}", _HOW), _rows(title, rows, surface)]
    return blocks


def _contents(figures: "StorageFigures") -> str:
    contents = [(figures.versions, "version"), (figures.bases, "base")]
    return ", ".join(count(number, noun) for number, noun in contents if number) or "nothing stored"


def _account(figures: "StorageFigures") -> TableBlock:
    """Show how the logical bytes became the stored ones."""
    lines: list[tuple[str, Cell, int]] = [
        ("", Cell("logical", "strong"), figures.logical_bytes),
        ("-", Cell("saved by references"), figures.saved_by_references),
        ("-", Cell("saved by dedup"), figures.saved_by_dedup),
        ("-", Cell("saved by entropy coding"), figures.saved_by_entropy),
        ("+", Cell("framing of packs"), figures.framing_bytes),
        ("=", Cell("packs", "strong"), figures.pack_bytes),
        ("+", Cell("manifests"), figures.manifest_bytes),
        ("+", Cell("storage maps"), figures.map_bytes),
    ]
    rows: list[list[Text]] = [
        [Cell(sign, "dim"), what, size(number), _part(number, figures)] for sign, what, number in lines
    ]
    ratio = "-" if figures.ratio is None else f"{figures.ratio:,.1f}"
    rows.append(["", Cell("ratio", "strong"), Cell(ratio, "good"), ""])
    columns = [Column(""), Column("account"), Column("bytes", is_number=True)]
    return TableBlock([*columns, Column("of logical", is_number=True)], rows)


def _store(store: "StoreBytes") -> TableBlock:
    lines = {
        "packs that are needed": store.pack_bytes,
        "waiting for collection": store.garbage_bytes,
        "being pushed": store.upload_bytes,
        "all objects": store.total_bytes,
    }
    rows: list[list[Text]] = [[what, size(number)] for what, number in lines.items()]
    return TableBlock([Column("objects"), Column("bytes", is_number=True)], rows)


def _rows(title: str, rows: Sequence["StorageRow"], surface: DrawingSurface) -> TableBlock:
    names = [_name(row) for row in rows]
    titles = dict(_COLUMNS)
    if title == "version":
        del titles["versions"]
    for column in _DROPPED_FIRST:
        if surface.is_terminal and _width(title, names, rows, titles) > surface.width:
            titles.pop(column, None)
    columns = [Column(title), *(Column(name, is_number=True) for name in titles)]
    cells: list[list[Text]] = [
        [name, *(show(row) for show in titles.values())] for name, row in zip(names, rows, strict=True)
    ]
    return TableBlock(columns, cells)


def _width(
    title: str, names: Sequence[Cell], rows: Sequence["StorageRow"], shown: dict[str, Callable[["StorageRow"], str]]
) -> int:
    first = max(len(title), *(len(name.text) for name in names))
    others = (max(len(column), *(len(show(row)) for row in rows)) for column, show in shown.items())
    return first + sum(GAP + width for width in others)


def _name(row: "StorageRow") -> Cell:
    if row.of == "rest":
        return Cell(f"{int(row.name):,} more", "dim")
    if row.of == "bases":
        return Cell("(bases)", "name")
    return Cell(f"{row.name} as base" if row.of == "base" else row.name, "name")


def _part(size_bytes: int, figures: "StorageFigures") -> str:
    if not figures.logical_bytes or not size_bytes:
        return "-"
    return f"{100 * size_bytes / figures.logical_bytes:.1f} %"
