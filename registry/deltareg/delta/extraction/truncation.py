"""The nearest product of two thin matrices to a dense change, and exactly how far away it is.

Of all matrices of rank r, the first r singular directions make the nearest (Eckart and Young 1936).
They are found from the smaller of ΔWᵀΔW and ΔWΔWᵀ in float64, whose eigenvalues are the squared
singular values: for an m x n matrix that takes min(m, n)² numbers beside ΔW, and is a few times faster
than a decomposition of ΔW. Singular values below some 1e-7 of the largest drown in rounding and count
as zero. The loss is not estimated: it is measured on the factors as they are stored, in float32.
"""

from dataclasses import dataclass

import numpy as np

from deltareg.delta.maths.low_rank import F64
from deltareg.delta.merge.method import LowRankFactors
from deltareg.errors import InvalidInput

DEFAULT_ENERGY = 0.9
_BLOCK_ROWS = 1024


@dataclass(frozen=True, slots=True)
class RankChoice:
    """How many singular directions a module keeps.

    Attributes:
        energy: The share of ‖ΔW‖² that they have to hold.
        most: No more than this many; 0 for any number.
    """

    energy: float = DEFAULT_ENERGY
    most: int = 0

    def check(self) -> None:
        """Refuse values without meaning.

        Raises:
            InvalidInput: A value is out of its range.
        """
        if not 0 < self.energy <= 1:
            raise InvalidInput(f"energy {self.energy} is not above 0 and at most 1", fix="such as --energy 0.9")
        if self.most < 0:
            raise InvalidInput(f"rank {self.most} is not above 0", fix="such as --rank 16")

    def rank_for(self, energies: F64) -> int:
        """Return the rank for squared singular values in falling order; at least one."""
        rest = np.cumsum(energies[::-1])[::-1]  # of what is lost where only the first i are kept
        rank = max(1, int(np.sum(rest > (1 - self.energy) * rest[0])))
        return min(rank, self.most) if self.most else rank


def truncate(change: F64, choice: RankChoice) -> LowRankFactors:
    """Return the nearest factors of a change (n_out, n_in) that is not zero.

    Both have the same share of each singular value, B = U·√S and A = √S·Vᵀ; their numbers are
    float32's, and `lost` is ‖ΔW - B·A‖ of these.
    """
    is_tall = change.shape[0] >= change.shape[1]
    energies, vectors = _decompose(change.T @ change if is_tall else change @ change.T, max(change.shape))
    rank = choice.rank_for(energies)
    basis, roots = vectors[:, :rank], energies[:rank] ** 0.25
    if is_tall:
        left, right = (change @ basis) / roots, (basis * roots).T
    else:
        left, right = basis * roots, (basis.T @ change) / roots[:, None]
    tops = left[np.argmax(np.abs(left), axis=0), np.arange(rank)]
    signs = np.where(tops < 0, -1.0, 1.0)  # so that the result does not depend on the library
    left, right = _as_stored(left * signs), _as_stored(right * signs[:, None])
    return LowRankFactors(left, right, 1.0, float(np.linalg.norm(change)), _measure_loss(change, left, right))


def _decompose(gram: F64, longest: int) -> tuple[F64, F64]:
    """Return the eigenvalues of a Gram matrix in falling order, rounding taken out, and the vectors."""
    values, vectors = np.linalg.eigh(gram)
    values, vectors = values[::-1], vectors[:, ::-1]
    floor = float(values[0]) * longest * float(np.finfo(np.float64).eps)
    return np.where(values > floor, values, 0.0), vectors


def _as_stored(values: F64) -> F64:
    return values.astype(np.float32).astype(np.float64)


def _measure_loss(change: F64, left: F64, right: F64) -> float:
    total = 0.0
    for start in range(0, change.shape[0], _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        total += float(np.sum((change[rows] - left[rows] @ right) ** 2))
    return float(np.sqrt(total))
