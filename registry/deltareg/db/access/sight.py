"""The lines that a caller may see; `in_sight` makes SQL conditions of it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VisibleLines:
    """The lines that a caller may see.

    Attributes:
        visibilities: All lines in namespaces of these visibilities.
        namespaces: All lines in the namespaces of these names.
        lines: Some lines of namespaces: the namespace, and a pattern in which `*` stands for
            anything.
    """

    visibilities: Sequence[str] = ()
    namespaces: Sequence[str] = ()
    lines: Sequence[tuple[str, str]] = ()
