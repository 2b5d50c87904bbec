"""Runs of name components that different releases of a library spell differently.

A rename is two runs, old and new: `encoder.block.{n}` and `stages.{n}.blocks`. Each `{n}` is one
number and occurs in the new run in the same order. A run that begins with `^` only matches at the
beginning of a name.
"""

import re
from collections.abc import Iterable
from functools import cache

NUMBER = "{n}"
START = "^"
Rename = tuple[str, str]


def respell(path: str, renames: Iterable[Rename]) -> str:
    """Replace every old run in a name by its new one, in order."""
    bounded = f".{path}."
    for old, new in renames:
        if NUMBER in old:
            bounded = _pattern(old).sub(_template(new), bounded)
        elif not old.startswith(START):
            bounded = bounded.replace(f".{old}.", f".{new}.")
        elif bounded.startswith(f".{old[1:]}."):
            bounded = f".{new}{bounded[len(old) :]}"
    return bounded[1:-1]


@cache
def _pattern(old: str) -> re.Pattern[str]:
    anchor, run = ("^", old[1:]) if old.startswith(START) else ("", old)
    return re.compile(rf"{anchor}\.{_escape_run(run)}(?=\.)")


def _escape_run(run: str) -> str:
    return r"(\d+)".join(re.escape(part) for part in run.split(NUMBER))


@cache
def _template(new: str) -> str:
    parts = new.split(NUMBER)
    numbered = [f"{part}\\{at}" for at, part in enumerate(parts[:-1], start=1)]
    return "." + "".join(numbered) + parts[-1]
