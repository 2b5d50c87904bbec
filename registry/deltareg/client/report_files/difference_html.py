"""A comparison of two versions as one HTML file."""

from datetime import datetime
from typing import TYPE_CHECKING

import deltareg
from deltareg.client.report_files import ROOM
from deltareg.client.report_files.changes import changes
from deltareg.client.results.general import GENERAL_COLUMNS, GENERAL_TITLE, general_rows
from deltareg.drawing.rendering import render
from deltareg.drawing.wording import short

if TYPE_CHECKING:
    from deltareg.client.results.diff_report import DiffReport


def to_html(diff: "DiffReport", *, now: datetime, more: str = "") -> str:
    """Format a comparison as one HTML file; `more` are further sections below it."""
    return render(
        "difference.html.jinja",
        room=ROOM,
        diff=diff,
        counts=_counts(diff),
        settings=[(c.field, f"{_value(c.a)} → {_value(c.b)}") for c in diff.config],
        files=[f"{file.path} {file.change}" for file in diff.files],
        changes=changes(diff),
        general=diff.general,
        general_title=GENERAL_TITLE,
        general_columns=[("figure", ""), *((name, "num") for name in GENERAL_COLUMNS)],
        general_rows=[] if diff.general is None else general_rows(diff.general),
        more=more,
        foot=f"deltareg {deltareg.__version__} · {now:%Y-%m-%d %H:%M} UTC",
    )


def _counts(diff: "DiffReport") -> str:
    tensors = diff.tensors
    counts = (
        (len(tensors.changed), "changed"),
        (len(tensors.added), "added"),
        (len(tensors.removed), "removed"),
        (tensors.identical, "identical"),
    )
    return ", ".join(f"{n:,} {word}" for n, word in counts if n)


def _value(value: object) -> str:
    return "none" if value is None or value == "" else short(str(value))
