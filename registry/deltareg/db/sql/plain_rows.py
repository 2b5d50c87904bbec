"""Rows with a single value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NumberRow:
    """The number of a version, if nothing else of it matters."""

    number: int


@dataclass(frozen=True, slots=True)
class IdRow:
    """The id of a row, if nothing else of it matters."""

    id: int


@dataclass(frozen=True, slots=True)
class MomentRow:
    """The database's time, in µs since the epoch."""

    now: int
