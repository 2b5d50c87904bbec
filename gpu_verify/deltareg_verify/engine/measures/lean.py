"""How the two factors of products lean: trained together, they lean the same way.

Of ΔW = B·A each step moves A along BᵀG and B along G·Aᵀ, with the same gradient G. Where steps
follow the gradient, A·Aᵀ - BᵀB never changes (Du, Hu and Lee 2018, arXiv 1806.00900, theorem 2.1);
an optimizer that scales them bends this and does not undo it. So whatever A·Aᵀ has beyond a
multiple of the identity, which it is for random rows, BᵀB has as well, in the same directions.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deltareg.delta.maths.low_rank import LowRankChange

F64 = NDArray[np.float64]
_ROUNDED = 0.02  # cosines of directions that were orthogonal before they were rounded to bfloat16
_BEYOND_CHANCE = 4.0
"""So many times what random numbers would lean, as a square: each side was trained, or made."""


@dataclass(frozen=True, slots=True)
class FactorLean:
    """How the factors of some products lean.

    Attributes:
        products: How many products have two factors that lean by more than chance.
        together: The mean cosine between the ways of their two sides, from -1 to 1.
        deviation: How much that would vary if the sides came from different trainings.
    """

    products: int
    together: float
    deviation: float


def lean_of(changes: Iterable[LowRankChange]) -> FactorLean:
    """Return how the factors of products lean.

    Half of the directions may have the other sign, in all products alike: that is how one product
    minus another is stored, such as where a training did not begin at zero.
    """
    plain: list[float] = []
    turned: list[float] = []
    spread = 0.0
    for change in changes:
        rank = change.rank
        if rank < 2:
            continue
        inner, outer = _beyond(change.right), _beyond(change.left.T)
        if inner is None or outer is None:
            continue
        signs = np.where(np.arange(rank) < rank // 2, 1.0, -1.0)
        plain.append(float((inner * outer).sum()))
        turned.append(float((inner * outer * np.outer(signs, signs)).sum()))
        spread += 2 / (rank * (rank + 1) - 2)
    if not plain:
        return FactorLean(0, 0.0, 0.0)
    count = len(plain)
    best = max(float(np.mean(plain)), float(np.mean(turned)))
    return FactorLean(count, best, math.sqrt(spread) / count)


def is_orthogonal(change: LowRankChange) -> bool:
    """Return whether directions are orthogonal on both sides, as in a decomposition, never in training."""
    return all(_is_diagonal(rows @ rows.T) for rows in (change.right, change.left.T))


def _is_diagonal(products: F64) -> bool:
    sizes = np.sqrt(np.maximum(np.diag(products), 0))
    apart = products - np.diag(np.diag(products))
    return bool(np.all(np.abs(apart) <= _ROUNDED * np.outer(sizes, sizes)))


def _beyond(rows: F64) -> F64 | None:
    """Return what the Gram matrix of rows has beyond a multiple of the identity, at length one.

    None where that is no more than random rows of this length have.
    """
    products = rows @ rows.T
    rank, width = rows.shape
    even = float(np.trace(products)) / rank
    beyond: F64 = products - even * np.eye(rank)
    size = float(np.linalg.norm(beyond))
    by_chance = even * math.sqrt((rank * rank + rank - 2) / width)
    if not math.isfinite(size) or size**2 <= _BEYOND_CHANCE * by_chance**2:
        return None
    return np.asarray(beyond / size)
