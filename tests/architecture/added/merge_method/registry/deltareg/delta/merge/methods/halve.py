"""Half of the weighted sum: ΔW = ½ Σ wᵢ·ΔWᵢ."""

from deltareg.delta.maths.low_rank import F64
from deltareg.delta.merge.method import MergeRows, MergeSettings, ValueMethod
from deltareg.delta.merge.steps import weighted_sum


def _merge(rows: MergeRows, settings: MergeSettings) -> F64:
    return weighted_sum(rows.changes, rows.weights) / 2


HALVE = ValueMethod("halve", "half of the weighted sum", _merge)
