"""The LoRA of a given rank that is nearest to Σ wᵢ·ΔWᵢ (Eckart and Young 1936).

With ΔW = U·S·Vᵀ it is B = U_r·√S_r, A = √S_r·V_rᵀ, and what is lost is the root of the sum of the
squares of the other singular values. Where all changes are products, the decomposition is that of a
small matrix in a shared basis; otherwise it is of the dense change.
"""

from collections.abc import Sequence

import numpy as np

from deltareg.delta.maths.low_rank import F64, cores_with_bases
from deltareg.delta.merge.method import FactorMethod, LowRankFactors, MergeSettings, ParentChange
from deltareg.delta.merge.steps import weighted_sum


def _merge(parts: Sequence[ParentChange], settings: MergeSettings) -> LowRankFactors:
    left, sizes, right = _decompose(parts)
    rank = min(settings.rank, sizes.size)
    roots = np.sqrt(sizes[:rank])
    signs = _signs(left[:, :rank])
    norm, lost = float(np.linalg.norm(sizes)), float(np.linalg.norm(sizes[rank:]))
    return LowRankFactors(left[:, :rank] * (roots * signs), right[:rank] * (roots * signs)[:, None], 1.0, norm, lost)


def _decompose(parts: Sequence[ParentChange]) -> tuple[F64, F64, F64]:
    """Return U (n_out, k), the singular values in falling order, and Vᵀ (k, n_in)."""
    weights = [part.weight for part in parts]
    products = [part.low_rank for part in parts if part.low_rank is not None]
    if len(products) < len(parts):
        svd = np.linalg.svd(weighted_sum([part.dense() for part in parts], weights), full_matrices=False)
        return svd.U, svd.S, svd.Vh
    shared = cores_with_bases(products)
    svd = np.linalg.svd(weighted_sum(shared.cores, weights), full_matrices=False)
    return shared.left_basis @ svd.U, svd.S, svd.Vh @ shared.right_basis.T


def _signs(left: F64) -> F64:
    """Choose the sign of every pair of vectors so that the left one's largest entry is positive."""
    tops = left[np.argmax(np.abs(left), axis=0), np.arange(left.shape[1])]
    return np.where(tops < 0, -1.0, 1.0)


SVD = FactorMethod("svd", "the nearest LoRA of a rank, with its error stated", _merge, takes=frozenset({"rank"}))
