"""Long work over everything, in stages and steps: it ends when its time is up, and continues from there.

Nobody keeps anything between two parts: where a part continues is in the cursor that it returns.
"""

import base64
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from deltareg.errors import InvalidInput
from deltareg.service.paging import read_cursor
from deltareg.wire import FsckFinding

_DIGITS = 18  # of a row id at most


@dataclass(frozen=True, slots=True)
class WalkStep:
    """A step of a stage.

    Attributes:
        place: Where the stage continues after it; None at its end.
        findings: The problems that it found.
        packs: How many packs it looked at.
        size_bytes: Their bytes.
    """

    place: str | None
    findings: Sequence[FsckFinding] = ()
    packs: int = 0
    size_bytes: int = 0


Stage = Callable[[str], Iterator[WalkStep]]
"""Yields the steps of a stage from a place on, or from its beginning if that is empty."""


@dataclass(slots=True)
class WalkPart:
    """What the steps of a part found together; `cursor` continues after them, and is None at the end."""

    cursor: str | None = None
    findings: list[FsckFinding] = field(default_factory=list[FsckFinding])
    packs: int = 0
    size_bytes: int = 0


def walk(stages: Mapping[str, Stage], *, cursor: str | None, seconds: float | None) -> WalkPart:
    """Work through stages in their order.

    Args:
        stages: The stages by name.
        cursor: Where an earlier part ended; None or empty for the beginning.
        seconds: How long a part may take: no step begins later. None for all of it at once.

    Raises:
        InvalidInput: The cursor is not from this server.
    """
    names = list(stages)
    name, _, place = (read_cursor(cursor or None) or f"{names[0]}:").partition(":")
    if name not in stages:
        raise InvalidInput("not a cursor of this server", fix="start again without it")
    part, until = WalkPart(), None if seconds is None else time.monotonic() + seconds
    for number in range(names.index(name), len(names)):
        for step in stages[names[number]](place):
            part.findings += step.findings
            part.packs, part.size_bytes = part.packs + step.packs, part.size_bytes + step.size_bytes
            if until is not None and time.monotonic() >= until:
                part.cursor = _cursor(names, number, step.place)
                return part
        place = ""
    return part


def read_row_id(place: str) -> int:
    """Read a place that is the id of the last row of a step; 0 for the beginning.

    Raises:
        InvalidInput: It is none.
    """
    if not (place or "0").isascii() or not (place or "0").isdecimal() or len(place) > _DIGITS:
        raise InvalidInput("not a cursor of this server", fix="start again without it")
    return int(place or "0")


def _cursor(names: Sequence[str], number: int, place: str | None) -> str | None:
    if place is None:
        number, place = number + 1, ""
    if number == len(names):
        return None
    return base64.urlsafe_b64encode(f"{names[number]}:{place}".encode()).decode()
