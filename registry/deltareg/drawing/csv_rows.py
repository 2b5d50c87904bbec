"""Rows as CSV.

Spreadsheets treat a cell that begins with one of a few signs as a formula, and other people may
have written its content. Such a cell gets an apostrophe in front, which spreadsheets hide.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

from deltareg.drawing.wording import clean

Cell = str | int | float | bool | None
# The last four are those of wide East Asian writing, which some spreadsheets take as well.
_FORMULA: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def write_rows(rows: Iterable[Sequence[Cell]]) -> str:
    """Format rows as CSV, as in RFC 4180."""
    out = io.StringIO()
    csv.writer(out).writerows([harmless(cell) for cell in row] for row in rows)
    return out.getvalue()


def harmless(cell: Cell) -> str:
    """Format a cell so that no spreadsheet takes it for a formula; a number stays one."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int | float):
        return str(cell)
    text = clean(cell).strip()
    return f"'{text}" if text.startswith(_FORMULA) else text
