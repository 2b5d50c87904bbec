"""Tensors that are made of another, or of what is recorded of one: named and typed as that is."""

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class TensorSpec(Protocol):
    """What is said of a tensor without its data."""

    @property
    def name(self) -> str:
        """Its name in the file."""
        ...

    @property
    def dtype(self) -> str:
        """The safetensors dtype."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions."""
        ...


R = TypeVar("R", bound=TensorSpec)


@dataclass(frozen=True, slots=True)
class DerivedTensor(Generic[R]):
    """Whatever has the name, dtype and shape of its origin, unless it says another shape."""

    origin: R

    @property
    def name(self) -> str:
        """The origin's."""
        return self.origin.name

    @property
    def dtype(self) -> str:
        """The origin's, as safetensors spells it."""
        return self.origin.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions."""
        return self.origin.shape
