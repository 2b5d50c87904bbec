"""How well scores rank relevant items before others: one value a query.

Equal scores count against a network, as one number for all ranks nothing. So does a NaN.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from deltareg_verify.engine.engine import F64

Flags = NDArray[np.bool_]


def ranks(scores: F64, relevant: Flags) -> NDArray[np.int64]:
    """Return the ranks of the relevant items, from 1 on, in order; ties count against them.

    Args:
        scores: (n,): The higher, the earlier.
        relevant: (n,): Which are.
    """
    sane = np.where(np.isfinite(scores), scores, -np.inf)
    order = np.lexsort((relevant, -sane))
    places = np.flatnonzero(relevant[order]) + 1
    # What was no number is not found at all.
    lost = ~np.isfinite(scores[relevant])
    places[len(places) - int(lost.sum()) :] = len(scores) + 1
    return places


def recall(scores: F64, relevant: Flags, *, within: int) -> float:
    """Return the share of the relevant items among the first `within`."""
    return float(np.mean(ranks(scores, relevant) <= within))


def reciprocal_rank(scores: F64, relevant: Flags, *, within: int) -> float:
    """Return one over the rank of the first relevant item; 0 beyond the first `within`."""
    first = int(ranks(scores, relevant)[0])
    return 1 / first if first <= within else 0.0


def ndcg(scores: F64, relevant: Flags, *, within: int) -> float:
    """Return the discounted gain relative to the best possible (Järvelin and Kekäläinen, 2002)."""
    places = ranks(scores, relevant)
    gained = float(np.sum(1 / np.log2(places[places <= within] + 1)))
    best = np.arange(1, min(len(places), within) + 1)
    return gained / float(np.sum(1 / np.log2(best + 1)))


MEASURES: Mapping[str, Callable[..., float]] = {"recall": recall, "mrr": reciprocal_rank, "ndcg": ndcg}


def spearman(pairs: F64) -> float:
    """Return the rank correlation (Spearman, 1904) of (n, 2); equal values share their ranks.

    NaN where one of the two is the same for all, or no number.
    """
    if not np.isfinite(pairs).all():
        return float("nan")
    first, second = (_rank_values(pairs[:, column]) for column in (0, 1))
    if not first.std() or not second.std():
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def _rank_values(values: F64) -> F64:
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middle: F64 = (ends - (counts - 1) / 2)[where]
    return middle
