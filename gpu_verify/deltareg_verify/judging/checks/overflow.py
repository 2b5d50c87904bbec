"""Everything stays finite in the dtypes that servers run in, folded or not.

A base of float32 hides what bfloat16 and float16 cannot hold: both factors of a product and the
weight that they are folded into are rounded to each dtype.
"""

import math
from collections.abc import Callable, Iterator
from functools import cache, partial

import numpy as np

from deltareg.delta.fold import FoldedBase
from deltareg.delta.maths.formula import Tensor
from deltareg.delta.maths.low_rank import LowRankChange, low_rank_change
from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg.tensors.array import F32, from_f32, is_finite, to_f32, view
from deltareg.tensors.header import FLOAT_DTYPES
from deltareg_verify.engine.case import Case
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.stream import pieces

_LARGEST = {"F16": 65_504.0, "BF16": 3.3895e38, "F32": 3.4028e38}


def run(case: Case, spec: CheckSpec) -> Finding:
    """Round stored values and folded weights to every requested dtype."""
    dtypes = str(spec.parameters["dtypes"]).split()
    tensors = list(case.folder.tensors.values())
    bound = cache(partial(_bound_elements, case.folding))  # it reads the base, once for all dtypes
    for dtype in dtypes:
        sick = [tensor.name for tensor in tensors if _overflows(_blocks_of(tensor), dtype)]
        sick = sick or _find_overflows(case.folding, dtype, bound)
        if sick:
            detail = f"not finite once rounded to {dtype}: {', '.join(sorted(sick)[:3])}"
            return Finding("fail", len(sick), 0, code="overflow_after_cast", detail=detail)
    return Finding("pass", 0, 0, detail=f"finite in {', '.join(dtypes)}")


def _find_overflows(folding: FoldedBase, dtype: str, bound: Callable[[str], float]) -> list[str]:
    """Return the weights that only the delta makes too large; the base's own are no finding."""
    names: list[str] = []
    for target in folding.changed:
        source = folding.source(target)
        if source.dtype not in FLOAT_DTYPES or bound(target) < _LARGEST[dtype]:
            continue
        if _overflows(folding.blocks(target), dtype) and not _overflows(_blocks_of(source), dtype):
            names.append(target)
    return names


def _bound_elements(folding: FoldedBase, target: str) -> float:
    """Bound the largest element of a changed weight from its factors; infinity without any.

    |W + s·L·R| is at most max|W| + |s| · max‖row of L‖ · max‖column of R‖ (Cauchy and Schwarz).
    """
    change = low_rank_change([effect.update for effect in folding.updates(target)])
    if change is None:
        return math.inf
    own = (float(np.max(np.abs(block))) for block in _blocks_of(folding.source(target)))
    return max(own) + largest_element(change)


def largest_element(change: LowRankChange) -> float:
    """Bound the largest element of a product from its factors."""
    rows = np.linalg.norm(change.left, axis=1).max(initial=0)
    columns = np.linalg.norm(change.right, axis=0).max(initial=0)
    return abs(change.scale) * float(rows) * float(columns)


def _blocks_of(tensor: Tensor) -> Iterator[F32]:
    if tensor.dtype in FLOAT_DTYPES:
        for shape, data in pieces(tensor):
            yield to_f32(view(data, tensor.dtype, shape), tensor.dtype)


def _overflows(blocks: Iterator[F32], dtype: str) -> bool:
    return not all(is_finite(from_f32(block, dtype), dtype) for block in blocks)


CHECK = Check(
    "overflow",
    run,
    CheckForm(
        "everything is finite where it is served",
        {"dtypes": "BF16 F16"},
        fix="serve it in bfloat16 or float32, or train with a lower lora_alpha",
    ),
    is_static=True,
)
