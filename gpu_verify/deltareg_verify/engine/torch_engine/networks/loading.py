"""A library's report on a load."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What differed from one tensor, one parameter, by names.

    Attributes:
        missing: Parameters of the class that are in no file and were newly initialised.
        unexpected: Tensors for which the class has no place.
        mismatched: Parameters whose shape differs from their tensor's.
    """

    missing: frozenset[str] = frozenset()
    unexpected: frozenset[str] = frozenset()
    mismatched: frozenset[str] = frozenset()
