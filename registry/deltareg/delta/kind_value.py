"""Deltas whose kind is a value: they take name, variant and foldability from it.

Many kinds read names in one way and differ by a value: a library's layout, a `peft_type`. A delta
of such a kind makes a single plan: from headers for its problems, from tensors for its effects.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from deltareg.delta.kind import BaseView, DeltaFiles, Effect, Tensors
from deltareg.delta.shapes import header_tensors
from deltareg.delta.traits import Traits, traits_of
from deltareg.errors import Problem


class KindValue(Protocol):
    """A kind as a value; `deltareg.delta.kind.KindReader` has the rest of what it does."""

    @property
    def name(self) -> str:
        """The kind's name."""
        ...

    @property
    def variant(self) -> str:
        """The variant within the kind; may be empty."""
        ...

    @property
    def foldable(self) -> bool:
        """Whether every effect is on weights."""
        ...


class PlannedEffects(Protocol):
    """What a delta does to a base, and what is wrong with it."""

    @property
    def problems(self) -> list[Problem]:
        """What is wrong."""
        ...

    @property
    def effects(self) -> list[Effect]:
        """What it does."""
        ...


K = TypeVar("K", bound=KindValue)


@dataclass(frozen=True)
class DeltaOfValue(ABC, Generic[K]):
    """A delta whose kind is a value.

    Attributes:
        kind: The kind.
    """

    kind: K

    @property
    def name(self) -> str:
        """The kind's name."""
        return self.kind.name

    @property
    def variant(self) -> str:
        """The kind's variant."""
        return self.kind.variant

    @property
    def foldable(self) -> bool:
        """Whether every effect is on weights."""
        return self.kind.foldable

    def problems(self, files: DeltaFiles, base: BaseView) -> list[Problem]:
        """See `deltareg.delta.kind.DeltaKind`."""
        return self.plan(header_tensors(files), base).problems

    def effects(self, tensors: Tensors, base: BaseView) -> list[Effect]:
        """See `deltareg.delta.kind.DeltaKind`."""
        return self.plan(tensors, base).effects

    @property
    def traits(self) -> Traits:
        """What is usual for the kind."""
        return traits_of(self.kind)

    @abstractmethod
    def plan(self, tensors: Tensors, base: BaseView) -> PlannedEffects:
        """Plan the delta's effects, from tensors with data or from headers alone."""
