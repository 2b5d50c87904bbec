"""The stored values come from one training, and that training began at the base.

A tuned matrix is the base's plus a little more, whatever was learnt: where most of the matrices
that are stored whole contain next to nothing of the base, other numbers were saved under their
names, such as an optimizer's, or the training began at another network. The statistics of a
normalisation follow the data, each channel in its own way, and make the following layers
independent of scale: where those of most layers moved by one factor each, or are at their initial
values, they are from another run or from none.

Factors of a product that were trained together lean the same way (`measures.lean`), so the factors
of two runs can be recognised without the base. And the first factor begins as random numbers of a
known size, to which training adds: where all are far smaller, gradients were saved instead.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from deltareg.delta.kind import AGAIN, WeightUpdate
from deltareg.delta.maths.formula import StoredUpdate, Tensor
from deltareg.delta.maths.low_rank import LowRankChange, low_rank_change
from deltareg.delta.maths.numpy_ops import NumPyOps
from deltareg.delta.traits import traits_of
from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg.tensors.array import F32
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.measures.lean import is_orthogonal, lean_of
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.checks.idle import computed_targets

_CODE = "unrelated"
_OPS = NumPyOps()
_FEWEST = 4  # matrices that say something of a network; a head that began anew has fewer
_FEWEST_NORMS, _MOST_NORMS = 3, 0.5
_STATISTICS = ("running_mean", "running_var")
_CHANNELS, _APART = 8, 0.2  # channels that tell, and how far they may be from one factor
_MOST_DEVIATION = 0.12  # of what factors of two runs have in common, for it to tell
_MOST_TIMES = 99.0


@dataclass(frozen=True, slots=True)
class DescentSign:
    """One sign of the numbers' origin.

    Attributes:
        over: Its size in units of its limit; above 1 it is a fault.
        told: The description of it, for people.
    """

    over: float
    description: str


def run(case: Case, spec: CheckSpec) -> Finding:
    """Look for every sign, and report the worst."""
    pairs = list(_pairs(case))
    signs = [
        *_of_base(case, least=spec.number("least_kept")),
        *_statistics(case, factor=spec.number("one_factor")),
        *_together(pairs, least=spec.number("least_together")),
        *_compare_start_size(pairs, least=spec.number("least_begun")),
    ]
    if not signs:
        return Finding("n/a", detail="too little is stored to say where it came from")
    worst = max(signs, key=lambda sign: sign.over)
    over = round(worst.over, 3)
    if worst.over > 1:
        return Finding("fail", over, 1, code=_CODE, detail=worst.description)
    return Finding("pass", over, 1, detail=worst.description)


def _of_base(case: Case, *, least: float) -> Iterator[DescentSign]:
    """Measure how much of the base is in the median matrix of those that are stored whole."""
    computed = computed_targets(case.account)
    stored_weights = [c for c in case.changes if c.target not in computed and not c.is_vector]
    shares = sorted(abs(c.kept) for c in stored_weights if c.weight_rms > 0)
    if len(shares) < _FEWEST:
        return
    middle = shares[len(shares) // 2]
    detail = f"{middle:.0%} of the base is in the middle one of {len(shares)} stored matrices"
    if middle < least:
        detail += ": they were not trained from this base, or are no weights"
    yield DescentSign(least / max(middle, least / _MOST_TIMES), detail)


def _statistics(case: Case, *, factor: float) -> Iterator[DescentSign]:
    """Count the norms whose statistics are at their initial values, or the base's times one factor."""
    norms: dict[str, str] = {}
    for effect in case.account.effects:
        if isinstance(effect, WeightUpdate) and isinstance(effect.update, StoredUpdate):
            norm, _, kind = effect.target.rpartition(".")
            source = case.base.tensors.get(effect.source)
            if kind in _STATISTICS and source is not None:
                norms[norm] = norms.get(norm) or _how(effect.update.stored, source, factor)
    if len(norms) < _FEWEST_NORMS:
        return
    sick = [norm for norm, how in norms.items() if how]
    detail = f"running statistics of {len(sick)} of {len(norms)} norms moved all together"
    if sick:
        detail += f", such as {sick[0]}, which {norms[sick[0]]}: they are of another run, or of none"
    yield DescentSign(len(sick) / len(norms) / _MOST_NORMS, detail)


def _how(stored: Tensor, source: Tensor, factor: float) -> str:
    """Describe how statistics of all channels moved together; empty where each went its own way."""
    if stored.shape != source.shape or math.prod(stored.shape) < _CHANNELS:
        return ""
    new, old = _values(stored), _values(source)
    if np.ptp(old) == 0 or not np.any(old) or not np.all(np.isfinite(new)):
        return ""
    if np.ptp(new) == 0:
        return f"are {new.flat[0]:g} for every channel"
    times = float((new * old).sum() / np.square(old).sum())
    apart = float(np.linalg.norm(new - times * old) / np.linalg.norm(new))
    is_far = times > factor or 0 < times < 1 / factor
    return f"are {times:.3g} times the base's" if is_far and apart < _APART else ""


def _together(pairs: Sequence[LowRankChange], *, least: float) -> Iterator[DescentSign]:
    """Check whether factors lean the same way, where enough of them lean at all."""
    lean = lean_of(pairs)
    if not lean.products or lean.deviation > _MOST_DEVIATION:
        return
    detail = (
        f"A and B of {lean.products} low-rank products agree by {lean.together:.2f}, those"
        f" of two runs by 0 ± {lean.deviation:.2f}"
    )
    if lean.together < least:
        detail += ": they do not come from one run"
    yield DescentSign(min(least / max(lean.together, least / _MOST_TIMES), _MOST_TIMES), detail)


def _compare_start_size(pairs: Sequence[LowRankChange], *, least: float) -> Iterator[DescentSign]:
    """Compare the size of the larger factor with the random numbers that one of them began as."""
    sizes = sorted(max(_size(pair.right), _size(pair.left.T)) for pair in pairs)
    if not sizes or all(map(is_orthogonal, pairs)):  # made by a decomposition
        return
    middle = sizes[len(sizes) // 2]
    detail = f"the middle one of {len(sizes)} products has a factor of {middle:.2g} times the size"
    detail += " that one begins with"
    if middle < least:
        detail += ": gradients were saved in their place, or an average of them"
    yield DescentSign(least / max(middle, least / _MOST_TIMES), detail)


def _pairs(case: Case) -> Iterator[LowRankChange]:
    """Return the products of two matrices each, stored for them alone."""
    common = traits_of(case.account.delta).shared
    users = Counter(name for effect in case.account.effects for name in effect.consumes)
    for effect in case.account.effects:
        names = [n for n in effect.consumes if len(case.folder.tensors[n].shape) > 1]
        roles = {role.removesuffix(AGAIN) for role in effect.consumes.values()}
        is_own = len(names) == 2 and all(users[name] == 1 for name in names)
        if isinstance(effect, WeightUpdate) and is_own and not roles & common:
            change = low_rank_change([effect.update])
            if change is not None and np.isfinite(change.left).all() and np.isfinite(change.right).all():
                yield change


def _size(rows: NDArray[np.float64]) -> float:
    """Return the size of rows in units of the usual start: uniform within one over √width."""
    return float(np.sqrt(np.mean(np.square(rows)) * 3 * rows.shape[1]))


def _values(tensor: Tensor) -> NDArray[np.float64]:
    return cast("F32", _OPS.load(tensor)).astype(np.float64)


CHECK = Check(
    "descent",
    run,
    CheckForm(
        "what is stored came of one training, which began at the base",
        {"least_kept": "0.25", "one_factor": "1.5", "least_together": "0.25", "least_begun": "0.1"},
        may_not_apply=True,
        fix="push all files of one checkpoint of one run",
    ),
    is_static=True,
)
