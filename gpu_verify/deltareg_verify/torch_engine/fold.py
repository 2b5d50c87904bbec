"""Updates folded into weights: float32 in fixed blocks of rows, rounded once.

The same formulas and blocks as `deltareg.fold`, on torch arrays.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import math
from collections.abc import Iterator, Mapping

import torch

from deltareg.kind import Factored, Stored, Tensor, WeightUpdate
from deltareg_verify.engine import Change
from deltareg_verify.torch_engine.ops import TorchOps, as_torch, stored

BLOCK_ROWS = 1024


def fold(
    update: WeightUpdate, tensors: Mapping[str, Tensor], ops: TorchOps, dtype: torch.dtype
) -> torch.Tensor:
    """Give the new weight, on the device.

    Args:
        update: What happens to it.
        tensors: The base's stored tensors.
        ops: Reads them.
        dtype: What the result is rounded to.
    """
    if isinstance(update.update, Stored):  # of any dtype, also one that holds no real numbers
        return stored(update.update.stored).to(ops.device, dtype)
    source = tensors[update.source]
    if not source.shape:
        return as_torch(update.update.fold(ops.load(source), 0, 1, ops)).to(dtype)
    shape = update.shape or source.shape
    result = torch.empty(shape, dtype=dtype, device=ops.device)
    for start, stop in _blocks(update, shape[0]):
        weight = ops.load(source, min(start, source.shape[0]), min(stop, source.shape[0]))
        rows = as_torch(update.update.fold(weight, start, stop, ops))
        result[start:stop] = rows.to(dtype)
    return result


def change_of(update: WeightUpdate, tensors: Mapping[str, Tensor], ops: TorchOps) -> Change:
    """Size an update, from its factors where it has them, else block by block."""
    source = tensors[update.source]
    elements = math.prod(source.shape)
    factored = update.update if isinstance(update.update, Factored) else None
    delta, weight = _factored_square(factored, ops) if factored else 0.0, 0.0
    rows = source.shape[0] if source.shape else 1
    for start, stop in _blocks(update, rows):
        old = ops.load(source, start, stop) if source.shape else ops.load(source)
        weight += _square(as_torch(old))
        if factored is None:
            delta += _square(as_torch(update.update.fold(old, start, stop, ops)) - as_torch(old))
    return Change(update.target, math.sqrt(delta / elements), math.sqrt(weight / elements))


def _blocks(update: WeightUpdate, rows: int) -> Iterator[tuple[int, int]]:
    step = rows if update.update.needs_whole else BLOCK_ROWS
    return ((start, min(start + step, rows)) for start in range(0, rows, step))


def _square(values: torch.Tensor) -> float:
    return float(values.double().square().sum())


def _factored_square(update: Factored, ops: TorchOps) -> float:
    """Square of the Frobenius norm of s·L·R: s² Σ (LᵀL ∘ RRᵀ), without the product L·R."""
    left, right, scale = update.factors(ops)
    tall, wide = as_torch(left).double(), as_torch(right).double()
    inner = (tall.T @ tall) * (wide @ wide.T)
    return scale * scale * max(0.0, float(inner.sum()))
