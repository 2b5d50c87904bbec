"""What the doctor found: an answer to each question, in sentences and as a document."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

_DAY_S, _HOUR_S, _MINUTE_S = 86_400, 3_600, 60


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The answer to one question.

    Attributes:
        question: The question.
        answer: The answer, first in one sentence; then what it rests on.
        document: The same for programs.
        is_well: Whether nothing has to be done.
    """

    question: str
    answer: Sequence[str]
    document: Mapping[str, object]
    is_well: bool = True


def duration(seconds: float) -> str:
    """Write a duration: `42 s`, `3 min`, `2.5 h`, `12 days`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 2 * _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    return f"{seconds / _HOUR_S:.1f} h" if seconds < 2 * _DAY_S else f"{seconds / _DAY_S:.0f} days"


def moment(at: float) -> str:
    """Write a time, in UTC to the second."""
    return datetime.fromtimestamp(at, UTC).isoformat(sep=" ", timespec="seconds").replace("+00:00", "Z")
