"""Rows that searches read."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A metric of a version, and its source."""

    version_id: int
    name: str
    source: str
    value: float


@dataclass(frozen=True, slots=True)
class UnreadRow:
    """A version whose card has not been read yet."""

    id: int
    namespace: str
