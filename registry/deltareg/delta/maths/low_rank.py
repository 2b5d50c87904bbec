"""Changes that are products of two thin matrices, handled without the dense product.

With QR of all left sides and of all right sides, each change becomes a matrix of a few rows and
columns in one shared basis. Every norm, angle and singular value of a change, and of a sum of
changes, is that of its small matrix.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from deltareg.delta.maths.formula import Update, is_factored
from deltareg.delta.maths.numpy_ops import NumPyOps
from deltareg.tensors.array import F32

F64 = NDArray[np.float64]
FloatT = TypeVar("FloatT", bound=np.floating)


@dataclass(frozen=True, slots=True)
class FactoredChange(Generic[FloatT]):
    """ΔW = scale · left @ right.

    Attributes:
        left: (n_out, r).
        right: (r, n_in).
        scale: The factor.
    """

    left: NDArray[FloatT]
    right: NDArray[FloatT]
    scale: float

    @property
    def rank(self) -> int:
        """Its rank by construction."""
        return int(self.right.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the product."""
        return self.left.shape[0], self.right.shape[1]


class LowRankChange(FactoredChange[np.float64]):
    """One in float64."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Cores:
    """Changes in one shared basis: ΔW = left_basis @ core @ right_basis.T, exactly.

    Attributes:
        left_basis: (n_out, k), orthonormal columns.
        right_basis: (n_in, k'), orthonormal columns.
        cores: A matrix (k, k') for each change; zero if there is no change.
    """

    left_basis: F64
    right_basis: F64
    cores: tuple[F64, ...]


def low_rank_change(updates: Sequence[Update]) -> LowRankChange | None:
    """Return the updates of one weight as a product; None if they are not one."""
    first = updates[0] if len(updates) == 1 else None
    if first is None or not is_factored(first):
        return None
    left, right, scale = first.factors(NumPyOps())
    return LowRankChange(_f64(left), _f64(right), scale)


def cores_of(changes: Sequence[LowRankChange | None]) -> tuple[F64, ...]:
    """Express changes of one weight in a shared basis, which is not computed.

    At least one of them is not None; of one that is, the core is zero.
    """
    # NumPy's types have no overload for this mode, in which the answer is R alone.
    tall, wide = (cast("F64", np.linalg.qr(side, mode="r")) for side in _side_by_side(changes))
    return _cores(changes, tall, wide)


def cores_with_bases(changes: Sequence[LowRankChange | None]) -> Cores:
    """Express changes of one weight in a shared basis, as `cores_of` does, and compute it."""
    tall, wide = map(np.linalg.qr, _side_by_side(changes))
    return Cores(tall.Q, wide.Q, _cores(changes, tall.R, wide.R))


def _side_by_side(changes: Sequence[LowRankChange | None]) -> tuple[F64, F64]:
    present = [change for change in changes if change is not None]
    lefts = np.concatenate([change.left for change in present], axis=1)
    return lefts, np.concatenate([change.right for change in present], axis=0).T


def _cores(changes: Sequence[LowRankChange | None], tall: F64, wide: F64) -> tuple[F64, ...]:
    cores: list[F64] = []
    at = 0
    for change in changes:
        if change is None:
            cores.append(np.zeros((tall.shape[0], wide.shape[0])))
            continue
        columns = slice(at, at + change.rank)
        cores.append(change.scale * (tall[:, columns] @ wide[:, columns].T))
        at += change.rank
    return tuple(cores)


def _f64(array: object) -> F64:
    return cast("F32", array).astype(np.float64)
