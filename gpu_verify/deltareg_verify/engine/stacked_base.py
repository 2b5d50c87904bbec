"""Whether a base that is a version really is that version folded into its own base.

The registry stores the result of the first pusher's folding and proves all of it by digests but the
computed values (docs/adr/0016-version-as-base.md). Those are folded again here and compared in
float32: another matrix product may leave other last bits, and nothing more.
"""

import numpy as np

from deltareg.delta.fold import FoldedBase
from deltareg.delta.kind import Tensors
from deltareg.delta.maths.formula import Tensor
from deltareg.tensors.array import F32, to_f32, view

ULPS = 2
NOISE = 2.0**-16
"""How far sums in another order may be off, in units of the block's root mean square."""

_DIGITS = {"F64": 53, "F32": 24, "F16": 11, "BF16": 8}


def contradiction(folding: FoldedBase, base: Tensors) -> str:
    """Describe a base tensor that differs from the folded one; empty when all agree.

    Args:
        folding: The version in its own base.
        base: The tensors of the base that claims to be the result.
    """
    for target in folding.changed:
        if folding.find_stored(target) is None and not _agrees(folding, target, base[target]):
            return target
    return ""


def _agrees(folding: FoldedBase, target: str, found: Tensor) -> bool:
    start = 0
    for expected in folding.blocks(target):
        stop = start + (expected.shape[0] if expected.shape else 1)
        data = view(found.read(start, stop), found.dtype, expected.shape)
        if not _is_close(expected, to_f32(data, found.dtype), found.dtype):
            return False
        start = stop
    return True


def _is_close(expected: F32, found: F32, dtype: str) -> bool:
    if not (np.isfinite(expected).all() and np.isfinite(found).all()):
        return bool(np.array_equal(expected, found, equal_nan=True))
    size = np.maximum(np.abs(expected), np.abs(found))
    rms = float(np.sqrt(np.mean(np.square(expected, dtype=np.float64))))
    allowed = size * 2.0 ** (1 - _DIGITS.get(dtype, 24)) * ULPS + rms * NOISE
    return bool(np.all(np.abs(expected - found) <= allowed))
