"""One module of a model's original code, as the base has it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OriginalModule:
    """A module of the original code.

    Attributes:
        modules: Modules of the base whose weights, one below the other, are the original's weight.
        is_turned: Whether the original has the two halves of its outputs the other way round.
    """

    modules: tuple[str, ...]
    is_turned: bool = False

    @property
    def is_renamed_only(self) -> bool:
        """Whether the base has the same weight under another name."""
        return len(self.modules) == 1 and not self.is_turned

    def below(self, component: str) -> "OriginalModule":
        """Give the same in a component of a pipeline."""
        return OriginalModule(tuple(f"{component}.{module}" for module in self.modules), self.is_turned)
