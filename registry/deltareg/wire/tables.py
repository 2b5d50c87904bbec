"""Answers as HTML tables, for notebooks: shown if the last line of a cell is an answer.

Texts come from anybody, so all of them are escaped, and nothing is loaded from anywhere.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape

Fields = Mapping[str, object]

_MOST_CHARACTERS = 160
_LEFT = ' style="text-align:left"'


def one_line(kind: str, facts: str) -> str:
    """Format what a thing is, and its facts, as one line that fits into a cell or a log."""
    text = " ".join(facts.split())
    return f"<{kind} {text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + '…'}>"


def facts_html(title: str, fields: Fields) -> str:
    """Render one thing as a table with a row for each non-empty field."""
    rows = [
        f"<tr><th{_LEFT}>{escape(name)}</th><td{_LEFT}>{_cell(value)}</td></tr>"
        for name, value in fields.items()
        if not _is_empty(value)
    ]
    return _table(title, "", rows)


def rows_html(items: Sequence[Fields], *, title: str = "", columns: Sequence[str] = (), note: str = "") -> str:
    """Render things of one kind as rows; by default the columns are all fields of any of them."""
    names = columns or list(dict.fromkeys(_columns(items)))
    if not items:
        return f"<p>{escape(title or 'nothing')}: none</p>" if title else "<p>none</p>"
    head = "".join(f"<th{_LEFT}>{escape(name)}</th>" for name in names)
    rows = ["<tr>" + "".join(f"<td{_LEFT}>{_cell(one.get(name))}</td>" for name in names) + "</tr>" for one in items]
    table = _table(title, f"<thead><tr>{head}</tr></thead>", rows)
    return table + (f"<p><small>{escape(note)}</small></p>" if note else "")


def _table(title: str, head: str, rows: Iterable[str]) -> str:
    caption = f"<caption{_LEFT}>{escape(title)}</caption>" if title else ""
    return f"<table>{caption}{head}<tbody>{''.join(rows)}</tbody></table>"


def _columns(items: Sequence[Fields]) -> Iterable[str]:
    """Yield the names of the fields whose values fit into a cell."""
    for one in items:
        for name, value in one.items():
            if not _is_empty(value) and not isinstance(value, dict | list):
                yield name


def _cell(value: object) -> str:
    """Render a value, shortened: text as it is, anything else as JSON."""
    if value is None or value == "":
        return ""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    cut = text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"
    return escape(cut)


def _is_empty(value: object) -> bool:
    return value is None or value in ("", [], {}, ())
