"""Rows of evaluations of versions."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """An evaluation that nobody signed, without its bytes.

    `withdrawn` is the reason why it was withdrawn; None if it was not. `sender` is the principal
    that brought it; None for the registry itself.
    """

    id: int
    version_id: int
    digest: str
    created_at: int
    size_bytes: int
    created_by: int | None
    sender: str | None
    withdrawn: str | None
