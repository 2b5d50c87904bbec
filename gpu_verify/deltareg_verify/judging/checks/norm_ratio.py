"""No weight changes out of proportion to its former size, or to the same weight of other layers."""

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median

from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.engine import WeightChange
from deltareg_verify.judging.check import Check, Finding

_FEW = 3
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare each ratio with a hard cap, and with the median of its layer type.

    A weight far above its like in other layers fails; one that stands out from all others, as an
    embedding rightly may, only warns.
    """
    changes = case.changes
    if not changes:
        return Finding("n/a", detail="no effect changes a weight")
    ratios = size_ratios(changes, matrix_floor=spec.number("matrix_floor"), vector_floor=spec.number("vector_floor"))
    worst = max(ratios, key=lambda name: ratios[name])
    cap, factor = spec.number("fail_above"), spec.number("warn_over_median")
    if not ratios[worst] <= cap:  # a NaN is not below any cap
        return Finding("fail", ratios[worst], cap, code="norm_ratio", detail=_describe_ratio(worst, ratios))
    far = over_type(ratios)
    sick = max(far, key=lambda name: far[name], default="")
    most = spec.number("fail_over_median")
    if sick and not far[sick] <= most:
        detail = f"{far[sick]:.3g} times the median of its layer type: {_describe_ratio(sick, ratios)}"
        return Finding("fail", far[sick], most, code="norm_ratio", detail=detail)
    odd = outliers(ratios, factor=factor)
    if odd:
        detail = f"more than {factor:g} times the median of its layer type: {_describe_ratio(odd[0], ratios)}"
        return Finding("warn", ratios[odd[0]], factor, code="norm_ratio", detail=detail)
    return Finding("pass", ratios[worst], cap, detail=_describe_ratio(worst, ratios))


def size_ratios(changes: Sequence[WeightChange], *, matrix_floor: float, vector_floor: float) -> dict[str, float]:
    """Return RMS(delta) / RMS(weight) by target, which is the ratio of Frobenius norms.

    A weight that is zero has no size to compare with; a floor stands in for it.

    Args:
        changes: The sizes.
        matrix_floor: The least size of a matrix: half of the usual initial deviation.
        vector_floor: The least size of a bias. It starts at zero and is added to activations of
            about one, so a healthy bias tune may well reach one.
    """
    floors = {True: vector_floor, False: matrix_floor}
    return {c.target: _ratio(c.delta_rms, max(c.weight_rms, floors[c.is_vector])) for c in changes}


def outliers(ratios: Mapping[str, float], *, factor: float) -> list[str]:
    """Name targets above `factor` times the median of their layer type, the worst first.

    A type with fewer than three members shows little; its members are compared with all targets.
    """
    overall, usual = median(ratios.values()), _usual(ratios)
    # Where the usual change is zero, any change at all would be an outlier.
    odd = [n for n, r in ratios.items() if r > factor * usual.get(layer_type(n), overall) > 0]
    return sorted(odd, key=lambda name: -ratios[name])


def over_type(ratios: Mapping[str, float]) -> dict[str, float]:
    """Return ratios in units of the median of their layer type, where that has enough members."""
    usual = _usual(ratios)
    rows = ((name, ratio, usual.get(layer_type(name), 0.0)) for name, ratio in ratios.items())
    return {name: ratio / own for name, ratio, own in rows if own > 0}


def layer_type(name: str) -> str:
    """Return a weight's name without its layer's number, which its like in all layers share."""
    return _NUMBER.sub("*", name)


def _usual(ratios: Mapping[str, float]) -> dict[str, float]:
    """Return the median of every layer type that has enough members."""
    types: dict[str, list[float]] = defaultdict(list)
    for name, ratio in ratios.items():
        types[layer_type(name)].append(ratio)
    return {kind: median(of) for kind, of in types.items() if len(of) >= _FEW}


def _ratio(delta: float, weight: float) -> float:
    return delta / weight if math.isfinite(delta) and math.isfinite(weight) else math.nan


def _describe_ratio(name: str, ratios: Mapping[str, float]) -> str:
    return f"{name}: its change is {ratios[name]:.3g} times as large as the weight"


CHECK = Check(
    "norm_ratio",
    run,
    CheckForm(
        "no weight changes out of proportion to itself or to its like",
        {
            "warn_over_median": 10,
            "fail_over_median": 20,
            "fail_above": 30,
            "matrix_floor": "0.01",
            "vector_floor": "0.5",
        },
        may_not_apply=True,
        fix="check lora_alpha, r, use_rslora; if they are right, training diverged",
    ),
    is_static=True,
)
