"""Rows of what stands beside a version when it is held against a channel."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NumberRow:
    """The number of a version, where nothing else of it matters."""

    number: int


@dataclass(frozen=True, slots=True)
class IdRow:
    """The id of a row, where nothing else of it matters."""

    id: int


@dataclass(frozen=True, slots=True)
class MomentRow:
    """The database's time, in µs since the epoch."""

    now: int
