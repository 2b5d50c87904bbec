"""Factors side by side: Σ wᵢ·sᵢ·Bᵢ·Aᵢ = [w₁s₁B₁ | w₂s₂B₂ | …] · [A₁; A₂; …], exactly.

The only lossless way to merge LoRAs into a LoRA; ranks add up. Scales, of whatever convention, are
put into B, except where all of them are equal and positive: then the factors stay as they are, bit
for bit, and the scale is kept beside them.
"""

from collections.abc import Sequence

import numpy as np

from deltareg.delta.maths.low_rank import LowRankChange, cores_of
from deltareg.delta.merge.method import FactorMethod, LowRankFactors, MergeSettings, ParentChange


def _merge(parts: Sequence[ParentChange], settings: MergeSettings) -> LowRankFactors:
    changes = [part.low_rank for part in parts if part.low_rank is not None]
    scales = [part.weight * change.scale for part, change in zip(parts, changes, strict=True)]
    common = scales[0] if len(set(scales)) == 1 and scales[0] > 0 else 1.0
    lefts = [c.left * (scale / common) for c, scale in zip(changes, scales, strict=True)]
    left = np.concatenate(lefts, axis=1)
    right = np.concatenate([change.right for change in changes], axis=0)
    (core,) = cores_of([LowRankChange(left, right, common)])
    return LowRankFactors(left, right, common, float(np.linalg.norm(core)))


CAT = FactorMethod("cat", "a LoRA with all factors side by side, exact", _merge, needs_factors=True)
