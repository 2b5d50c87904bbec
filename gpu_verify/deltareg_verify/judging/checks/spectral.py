"""No product changes a weight too much in one direction, compared with its like or with noise.

Spectral norm and effective rank come from the factors; the dense product is never computed. A
change that is large in one direction only has a small norm over all elements, so `norm_ratio` may
miss it.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deltareg.delta.compare import effective_rank
from deltareg.delta.maths.low_rank import LowRankChange, cores_of, low_rank_change
from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.checks.norm_ratio import over_type


@dataclass(frozen=True, slots=True)
class Spectrum:
    """How a product acts on directions.

    Attributes:
        target: The weight's name.
        norm: Its largest singular value.
        effective_rank: exp of the entropy of the singular values' shares (Roy and Vetterli 2007).
        edge: The largest singular value of noise as large as the weight: RMS(W) · (√n + √m) (Bai
            and Yin 1993). What exceeds it many times over drowns the weight in one direction.
    """

    target: str
    norm: float
    effective_rank: float
    edge: float

    @property
    def ratio(self) -> float:
        """The norm in units of the edge; NaN where one of them is not a number."""
        is_known = math.isfinite(self.norm) and math.isfinite(self.edge) and self.edge > 0
        return self.norm / self.edge if is_known else math.nan


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare the strongest direction of every product with a cap and with its layer type."""
    products = spectra(case, floor=spec.number("matrix_floor"))
    if not products:
        return Finding("n/a", detail="no change is a product of two factors")
    worst = max(products, key=lambda one: math.inf if math.isnan(one.ratio) else one.ratio)
    cap, factor = spec.number("fail_above"), spec.number("fail_over_median")
    if not worst.ratio <= cap:  # a NaN is not below any cap
        return Finding("fail", worst.ratio, cap, code="norm_ratio", detail=_describe_spectrum(worst))
    far = over_type({one.target: one.ratio for one in products})
    odd = max(products, key=lambda one: far.get(one.target, 0.0))
    times = far.get(odd.target, 0.0)
    if not times <= factor:
        detail = f"{times:.3g} times the median of its layer type: {_describe_spectrum(odd)}"
        return Finding("fail", times, factor, code="norm_ratio", detail=detail)
    return Finding("pass", worst.ratio, cap, detail=_describe_spectrum(worst))


def spectra(case: Case, *, floor: float) -> list[Spectrum]:
    """Return the spectrum of every change that is a product.

    Args:
        case: The version.
        floor: The least RMS that a weight counts with.
    """
    sizes = {change.target: change.weight_rms for change in case.changes}
    folding = case.folding
    results: list[Spectrum] = []
    for target in folding.changed:
        change = low_rank_change([effect.update for effect in folding.updates(target)])
        if change is not None and target in sizes:
            rows, columns = change.shape
            edge = max(sizes[target], floor) * (math.sqrt(rows) + math.sqrt(columns))
            values = singular_values(change)
            norm = float(np.max(values, initial=0))
            results.append(Spectrum(target, norm, effective_rank(values), edge))
    return results


def singular_values(change: LowRankChange) -> NDArray[np.float64]:
    """Return the singular values of a product, the largest first; NaN where a factor has one."""
    (core,) = cores_of([change])
    if not np.all(np.isfinite(core)):
        return np.asarray([np.nan] * min(core.shape), dtype=np.float64)
    values = np.linalg.svd(core, compute_uv=False)
    return np.asarray(values, dtype=np.float64)


def _describe_spectrum(one: Spectrum) -> str:
    return (
        f"{one.target}: the largest singular value of its change is {one.ratio:.3g} times that of noise as large as"
        f" the weight; effective rank {one.effective_rank:.1f}"
    )


CHECK = Check(
    "spectral",
    run,
    CheckForm(
        "no product is too strong in one direction",
        {"fail_above": 30, "fail_over_median": 20, "matrix_floor": "0.01"},
        may_not_apply=True,
        fix="look for a spike in the loss, and push an earlier checkpoint",
    ),
    is_static=True,
)
