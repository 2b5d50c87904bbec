"""What a library says of a load."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What went otherwise than from tensor to parameter, by names.

    Attributes:
        missing: Parameters of the class that came from no file and were newly initialised.
        unexpected: Tensors for which the class has no place.
        mismatched: Parameters that are of another shape than their tensor.
    """

    missing: frozenset[str] = frozenset()
    unexpected: frozenset[str] = frozenset()
    mismatched: frozenset[str] = frozenset()
