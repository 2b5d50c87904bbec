"""What differs between two versions, as blocks and as Markdown."""

from collections.abc import Mapping, Sequence
from typing import cast

from deltareg_cli.blocks import Block, Cell, Column, Facts, Lines, Table, Text, Title
from deltareg_cli.wording import clean, count, number

Document = Mapping[str, object]
MODULE_COLUMNS = {
    "relative_norm": "apart",
    "cosine": "cosine",
    "rank_a": "rank a",
    "rank_b": "rank b",
    "overlap": "overlap",
}
MOST_NAMES = 8


def difference_blocks(document: Document) -> list[Block]:
    """Show a comparison; what does not differ is left out."""
    blocks: list[Block] = [Title(f"{_ref(document, 'a')} → {_ref(document, 'b')}")]
    changes = _changes(document)
    blocks.append(Facts(changes) if changes else Lines([Cell("no difference", "good")]))
    modules = _rows(document, "modules")
    if modules:
        columns = [Column("module", is_prose=True)]
        columns += [Column(title, is_number=True) for title in MODULE_COLUMNS.values()]
        rows: list[list[Text]] = [
            [Cell(_text(row.get("module")), "name"), *(number(row.get(k)) for k in MODULE_COLUMNS)]
            for row in modules
        ]
        blocks += [Title("Modules", "those that differ most first"), Table(columns, rows)]
    return blocks


def to_markdown(document: Document) -> str:
    """Write a comparison as Markdown, for a comment or a page."""
    lines = [f"### `{_ref(document, 'a')}` → `{_ref(document, 'b')}`", ""]
    changes = _changes(document)
    lines += [f"- **{label}**: {_safe(text)}" for label, text in changes] or ["No difference."]
    modules = _rows(document, "modules")
    if modules:
        titles = ["module", *MODULE_COLUMNS.values()]
        lines += ["", f"| {' | '.join(titles)} |", f"|---|{'---:|' * len(MODULE_COLUMNS)}"]
        for row in modules:
            values = [number(row.get(key)) for key in MODULE_COLUMNS]
            lines.append(f"| `{_safe(_text(row.get('module')))}` | {' | '.join(values)} |")
    return "\n".join(lines) + "\n"


def _changes(document: Document) -> list[tuple[str, str]]:
    tensors = _mapping(document.get("tensors"))
    found = [(label, _list_of(document.get(label))) for label in ("files", "config")]
    found += [
        (f"tensors {label}", _list_of(tensors.get(label)))
        for label in ("added", "removed", "changed")
    ]
    rows = [(label, text) for label, text in found if text]
    identical = tensors.get("identical")
    if rows and isinstance(identical, int) and identical:
        rows.append(("tensors identical", count(identical, "tensor")))
    return rows


def _list_of(value: object) -> str:
    """Name the entries of a list, the first few of them if there are many."""
    entries = _sequence(value)
    names = [_entry(entry) for entry in entries[:MOST_NAMES]]
    more = f" and {len(entries) - MOST_NAMES} more" if len(entries) > MOST_NAMES else ""
    return f"{', '.join(names)}{more}"


def _entry(entry: object) -> str:
    """Name one entry: its name, and what became of it."""
    fields = _mapping(entry)
    if not fields:
        return _text(entry)
    name = next(
        (_text(fields[key]) for key in ("path", "key", "tensor", "name") if key in fields), ""
    )
    if "a" in fields or "b" in fields:
        return f"{name} {_text(fields.get('a'))} → {_text(fields.get('b'))}"
    rest = [_text(text) for key, text in fields.items() if key in {"change", "state", "why"}]
    return " ".join([name, *rest]).strip()


def _ref(document: Document, side: str) -> str:
    return _text(_mapping(document.get(side)).get("ref") or document.get(side))


def _rows(document: Document, key: str) -> list[Document]:
    return [_mapping(row) for row in _sequence(document.get(key))]


def _sequence(value: object) -> Sequence[object]:
    return cast("Sequence[object]", value) if isinstance(value, list) else ()


def _mapping(value: object) -> Document:
    return cast("Document", value) if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return "-" if value is None else clean(str(value))


def _safe(text: str) -> str:
    """Keep text of others from being read as Markdown or HTML."""
    return "".join(f"\\{c}" if c in "|`*_<>[]" else c for c in clean(text))
