"""Rows of what versions are found by."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A number of a version by name, and what it comes from."""

    version_id: int
    name: str
    source: str
    value: float


@dataclass(frozen=True, slots=True)
class UnreadRow:
    """A version whose card was not read yet."""

    id: int
    namespace: str
