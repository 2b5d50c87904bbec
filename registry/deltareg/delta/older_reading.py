"""Formulas that a library has changed: a delta is read by that of the release that wrote it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from deltareg.delta.kind import DeltaKind
from deltareg.errors import Problem


@dataclass(frozen=True, slots=True)
class OlderReading:
    """What an earlier release of a library made of the files, and today's does not.

    Attributes:
        releases: The releases that read them so, for people: `peft 0.13 or earlier`.
        difference: What today's library does with them, for people.
        fields: Fields of the config with which today's library gives the same; None if there are none.
    """

    releases: str
    difference: str
    fields: Mapping[str, object] | None = None

    def problem(self) -> Problem:
        """Build the warning to whoever pushes it."""
        message = f"it is read as {self.releases} read it: {self.difference}"
        return Problem("older_library", message, "warning", fix=f"load it with {self.releases}, or fold it")


@runtime_checkable
class _HasOlderReading(Protocol):
    @property
    def older(self) -> OlderReading | None: ...


def older_reading(delta: DeltaKind | None) -> OlderReading | None:
    """Return how an earlier release reads a delta; None where today's reads it in the same way."""
    found: object = delta
    return found.older if isinstance(found, _HasOlderReading) else None
