"""Task arithmetic: ΔW = λ · Σ wᵢ·ΔWᵢ (Ilharco et al. 2022, arXiv 2212.04089, section 2).

λ is `scale`. A weight of -1 negates a task: the merged model forgets it.
"""

from deltareg.delta.maths.low_rank import F64
from deltareg.delta.merge.method import MergeRows, MergeSettings, ValueMethod
from deltareg.delta.merge.steps import weighted_sum


def _merge(rows: MergeRows, settings: MergeSettings) -> F64:
    return weighted_sum(rows.changes, [settings.scale * weight for weight in rows.weights])


TASK_ARITHMETIC = ValueMethod("task_arithmetic", "λ times the weighted sum", _merge, takes=frozenset({"scale"}))
