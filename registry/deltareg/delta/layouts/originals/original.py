"""One module of a model's original code, in terms of the base's modules."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OriginalModule:
    """A module of the original code.

    Attributes:
        modules: Modules of the base whose weights, stacked by rows, form the original's weight.
        is_turned: Whether the original has the two halves of its outputs swapped.
    """

    modules: tuple[str, ...]
    is_turned: bool = False

    @property
    def is_renamed_only(self) -> bool:
        """Whether the base has the same weight under another name."""
        return len(self.modules) == 1 and not self.is_turned

    def below(self, component: str) -> "OriginalModule":
        """Return this module within a component of a pipeline."""
        return OriginalModule(tuple(f"{component}.{module}" for module in self.modules), self.is_turned)
