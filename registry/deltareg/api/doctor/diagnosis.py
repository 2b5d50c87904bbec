"""What the doctor found: an answer to each question, in sentences and as a document."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime


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


def moment(at: float) -> str:
    """Write a time, in UTC to the second."""
    return datetime.fromtimestamp(at, UTC).isoformat(sep=" ", timespec="seconds").replace("+00:00", "Z")
