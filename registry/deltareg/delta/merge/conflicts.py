"""Where changes to be merged pull in different directions, weight by weight.

Everything comes from one pass over the rows, in float64.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from deltareg.delta.kind import Tensors
from deltareg.delta.maths.low_rank import F64
from deltareg.delta.merge.sides import MergeSides, Parent


@dataclass(frozen=True, slots=True)
class WeightConflict:
    """How two changes of one weight agree.

    Attributes:
        module: The weight's name in the base's files; empty for the sum over all weights.
        a: The first parent, by name.
        b: The second.
        sign_agreement: The share of elements that move the same way in both, among those that both
            change; None if there are none.
        cosine: Of the angle between ΔW_a and ΔW_b; 0 when one of them is zero.
        overlap: Elements that both change over elements that either changes.
        relative_a: ‖ΔW_a‖ / ‖W‖; None when W is zero or new.
        relative_b: The same of b.
    """

    module: str
    a: str
    b: str
    sign_agreement: float | None
    cosine: float
    overlap: float
    relative_a: float | None
    relative_b: float | None


@dataclass(slots=True)
class _Sums:
    """Sums over the elements of a pair of changes."""

    same: int = 0
    both: int = 0
    either: int = 0
    inner: float = 0.0
    square_a: float = 0.0
    square_b: float = 0.0
    square_base: float = 0.0

    def add(self, a: F64, b: F64, base: F64) -> None:
        moved_a, moved_b = a != 0, b != 0
        self.same += int(np.sum(moved_a & moved_b & ((a > 0) == (b > 0))))
        self.both += int(np.sum(moved_a & moved_b))
        self.either += int(np.sum(moved_a | moved_b))
        self.inner += float(np.sum(a * b))
        self.square_a += float(np.sum(a * a))
        self.square_b += float(np.sum(b * b))
        self.square_base += float(np.sum(base * base))

    def take(self, other: "_Sums") -> None:
        self.same, self.both = self.same + other.same, self.both + other.both
        self.either += other.either
        self.inner += other.inner
        self.square_a += other.square_a
        self.square_b += other.square_b
        self.square_base += other.square_base

    def build_conflict(self, module: str, a: str, b: str) -> WeightConflict:
        norms = float(np.sqrt(self.square_a)) * float(np.sqrt(self.square_b))
        base = float(np.sqrt(self.square_base))
        return WeightConflict(
            module,
            a,
            b,
            self.same / self.both if self.both else None,
            self.inner / norms if norms else 0.0,
            self.both / self.either if self.either else 0.0,
            float(np.sqrt(self.square_a)) / base if base else None,
            float(np.sqrt(self.square_b)) / base if base else None,
        )


def conflicts(parents: Sequence[Parent], base: Tensors) -> Iterator[WeightConflict]:
    """Compare every two parents on every weight that either changes, then over all weights.

    Yields:
        A row for each weight and pair; at the end one for each pair, without a module.

    Raises:
        InvalidInput: A parent acts on activations, or two parents give a weight different shapes.
    """
    sides = MergeSides(parents, base)
    pairs = list(combinations(range(len(parents)), 2))
    whole = {pair: _Sums() for pair in pairs}
    for target in filter(sides.is_number, sides.targets):
        here = {pair: _Sums() for pair in pairs}
        for rows in sides.pieces(target):
            changes = rows.changes()
            for a, b in pairs:
                here[a, b].add(changes[a], changes[b], rows.base)
        for (a, b), sums in here.items():
            if sums.either:
                whole[a, b].take(sums)
                yield sums.build_conflict(target, parents[a].name, parents[b].name)
    yield from (sums.build_conflict("", parents[a].name, parents[b].name) for (a, b), sums in whole.items())
