"""Merge methods: how several changes to a weight become one.

A method sees changes ΔW = W' - W and never the factors of one parent by themselves: products of
summed factors have cross terms that no parent has. There are two sorts. A `ValueMethod` returns the
merged change itself, rows at a time; a `FactorMethod` returns two thin matrices, for a LoRA.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deltareg.delta.maths.low_rank import F64, LowRankChange
from deltareg.errors import InvalidInput

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class MergeSettings:
    """The parameters of a merge; a method uses those that it names.

    Attributes:
        density: The share of elements that are kept, by methods that drop some.
        seed: The seed of random choices.
        scale: A factor on the merged change (λ of task arithmetic).
        normalize: Whether weights are made to sum up to one; None leaves it to the method.
        rank: Of the factors that a method makes.
        gamma: The share of elements that are dropped because they are the largest.
        epsilon: How far the chance to be kept goes up with an element's size, and down.
    """

    density: float = 0.5
    seed: int = 0
    scale: float = 1.0
    normalize: bool | None = None
    rank: int = 0
    gamma: float = 0.01
    epsilon: float = 0.15

    def check(self) -> None:
        """Refuse values without meaning.

        Raises:
            InvalidInput: A value is out of its range.
        """
        if not 0 < self.density <= 1:
            raise InvalidInput(f"density {self.density} is not above 0 and at most 1")
        if not np.isfinite(self.scale):
            raise InvalidInput(f"scale {self.scale} is not a number")
        if not 0 <= self.seed < 1 << 63:
            raise InvalidInput(f"seed {self.seed} is not a whole number from 0 to 2^63 - 1")
        if self.rank < 0:
            raise InvalidInput(f"rank {self.rank} is not above 0")
        if not 0 <= self.gamma < 1:
            raise InvalidInput(f"gamma {self.gamma} is not at least 0 and below 1")
        if not 0 <= self.epsilon < 1:
            raise InvalidInput(f"epsilon {self.epsilon} is not at least 0 and below 1")

    def check_chances(self) -> None:
        """Refuse a density and an epsilon that do not go together; a density of one drops nothing.

        Raises:
            InvalidInput: d ± ε does not lie between 0 and 1.
        """
        density, epsilon = self.density, self.epsilon
        if density < 1 and not 0 < density - epsilon <= density + epsilon < 1:
            raise InvalidInput(
                f"density {density:g} plus or minus epsilon {epsilon:g} leaves the range from 0 to 1",
                fix=f"use an --epsilon below {min(density, 1 - density):g}",
            )


@dataclass(frozen=True, slots=True)
class MergeRows:
    """Rows of one weight, as every parent changes them.

    Attributes:
        target: The weight's name.
        first: The position of the first element in the whole weight, row by row.
        base: W (rows, …), float64.
        changes: ΔW of each parent, of the same shape; zero where a parent leaves the weight alone.
        weights: A finite number for each parent; negative ones subtract.
        keys: What tells the parents apart, for random choices: equal for equal parents.
    """

    target: str
    first: int
    base: F64
    changes: Sequence[F64]
    weights: Sequence[float]
    keys: Sequence[str]


@dataclass(frozen=True, slots=True)
class ValueMethod:
    """A method that merges values.

    Attributes:
        name: As users type it.
        summary: What it does, in a line.
        merge: Returns the merged ΔW of some rows, float64.
        takes: The fields of `MergeSettings` that it uses.
        needs_whole: Whether it must see all rows of a weight at once.
        parents: How many parents it merges; None for any number.
        fewest: How many it needs at least.
        allows_negative: Whether weights may be negative.
        is_weighted: Whether the parents' weights count; if not, they must all be the same.
        normalizes: Whether it takes a mean unless `normalize` says otherwise.
    """

    name: str
    summary: str
    merge: Callable[[MergeRows, MergeSettings], F64]
    takes: frozenset[str] = field(default_factory=frozenset[str])
    needs_whole: bool = False
    parents: int | None = None
    fewest: int = 1
    allows_negative: bool = True
    is_weighted: bool = True
    normalizes: bool = False


@dataclass(frozen=True, slots=True)
class ParentChange:
    """The change that one parent makes to one weight, as a matrix (n_out, n_in).

    Attributes:
        weight: The parent's weight.
        low_rank: The change as a product; None if it is not a product.
        dense: Returns the change itself, float64.
    """

    weight: float
    low_rank: LowRankChange | None
    dense: Callable[[], F64]


@dataclass(frozen=True, slots=True)
class LowRankFactors:
    """ΔW ≈ scale · left @ right.

    Attributes:
        left: (n_out, r).
        right: (r, n_in).
        scale: The factor.
        norm: ‖ΔW‖, Frobenius.
        lost: ‖ΔW - scale · left @ right‖ before the factors are rounded.
    """

    left: F64
    right: F64
    scale: float
    norm: float = 0.0
    lost: float = 0.0


@dataclass(frozen=True, slots=True)
class FactorMethod:
    """A method that produces a LoRA.

    Attributes:
        name: As users type it.
        summary: What it does, in a line.
        merge: Returns the factors of one weight from the changes that parents make to it.
        takes: The fields of `MergeSettings` that it uses.
        needs_factors: Whether every part must be a product already.
    """

    name: str
    summary: str
    merge: Callable[[Sequence[ParentChange], MergeSettings], LowRankFactors]
    takes: frozenset[str] = field(default_factory=frozenset[str])
    needs_factors: bool = False


MergeMethod = ValueMethod | FactorMethod
