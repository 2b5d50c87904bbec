"""Whose lines a list shows to who asks: what `in_sight` makes conditions of."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VisibleLines:
    """Whose lines are shown.

    Attributes:
        visibilities: Namespaces of these visibilities, whoever they belong to.
        namespaces: Namespaces by name, with all that is in them.
        lines: Some lines of namespaces: the namespace, and a name in which `*` stands for anything.
    """

    visibilities: Sequence[str] = ()
    namespaces: Sequence[str] = ()
    lines: Sequence[tuple[str, str]] = ()
