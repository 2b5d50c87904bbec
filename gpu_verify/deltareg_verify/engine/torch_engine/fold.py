"""Updates folded into weights: float32 in fixed blocks of rows, rounded once.

The same formulas and blocks as `deltareg.delta.fold`, on torch arrays.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from deltareg.delta.kind import Effect, WeightUpdate
from deltareg.delta.maths.formula import FactoredUpdate, StoredUpdate, Tensor, Update, is_factored
from deltareg_verify.engine.engine import WeightChange
from deltareg_verify.engine.torch_engine.ops import TorchOps, as_array, as_torch, borrow_rows, read_rows

BLOCK_ROWS = 1024


@dataclass(frozen=True, slots=True)
class UpdateChain:
    """All updates of one weight, in order.

    Attributes:
        target: The weight's name.
        source: The base's tensor that they start from.
        updates: The formulas, applied one after the other.
        shape: The weight's shape afterwards; None keeps the base's.
    """

    target: str
    source: str
    updates: tuple[Update, ...]
    shape: tuple[int, ...] | None

    @property
    def is_twin(self) -> bool:
        """Whether the weight has no tensor of its own in the base's files."""
        return self.target != self.source


def chains(effects: Iterable[Effect]) -> list[UpdateChain]:
    """Group the weight updates of a delta by target, in the order of the effects."""
    by_target: dict[str, UpdateChain] = {}
    for effect in effects:
        if isinstance(effect, WeightUpdate):
            old = by_target.get(effect.target, UpdateChain(effect.target, effect.source, (), None))
            updates, shape = (*old.updates, effect.update), effect.shape or old.shape
            by_target[effect.target] = replace(old, updates=updates, shape=shape)
    return list(by_target.values())


def new_weight(chain: UpdateChain, at: torch.Tensor, tensors: Mapping[str, Tensor], ops: TorchOps) -> torch.Tensor:
    """Return the new weight for a parameter or buffer: a value, or one that is computed at each call.

    Args:
        chain: Its updates.
        at: The parameter or buffer that it replaces.
        tensors: The base's stored tensors.
        ops: Decides which of the two.
    """
    if ops.placing is None or not isinstance(at, nn.Parameter):
        return fold(chain, tensors, ops, at.dtype)
    shape = chain.shape or tensors[chain.source].shape
    for last in chain.updates[-1:]:
        if isinstance(last, StoredUpdate):
            return ops.placing.bring(borrow_rows(last.stored), at.dtype)
    return ops.placing.make(partial(fold, chain, tensors, ops, at.dtype), shape, at.dtype)


def fold(chain: UpdateChain, tensors: Mapping[str, Tensor], ops: TorchOps, dtype: torch.dtype) -> torch.Tensor:
    """Return the new weight, on the device.

    Args:
        chain: Its updates; without any the weight stays the base's.
        tensors: The base's stored tensors.
        ops: Reads them.
        dtype: The dtype that the result is rounded to.
    """
    for last in chain.updates[-1:]:
        if isinstance(last, StoredUpdate):  # of any dtype, also one that holds no real numbers
            return read_rows(last.stored).to(ops.device, dtype)
    source = tensors[chain.source]
    shape = chain.shape or source.shape
    result = torch.empty(shape, dtype=dtype, device=ops.device)
    replaces = bool(chain.updates) and chain.updates[0].replaces
    for start, stop in _blocks(chain, shape[0] if shape else 1):
        old = ops.nothing() if replaces else _base_rows(source, shape, start, stop, ops)
        rows = _rows(chain, old, start, stop, ops)
        (result[start:stop] if shape else result).copy_(rows)
    return result


def is_finite(weight: torch.Tensor) -> bool:
    """Return whether all numbers are finite, by the minimum and maximum, found in one pass."""
    if not weight.numel():
        return True
    ends = torch.aminmax(weight.detach())  # which are NaN where one number is
    return bool(ends.min.isfinite() and ends.max.isfinite())


def change_of(chain: UpdateChain, tensors: Mapping[str, Tensor], ops: TorchOps) -> WeightChange | None:
    """Measure the change of the rows that the base has, from factors where these suffice.

    None for a weight of another width, such as a head for other classes, as it is another weight.
    """
    source = tensors[chain.source]
    if chain.shape is not None and chain.shape[1:] != source.shape[1:]:
        return None
    rows = min((chain.shape or source.shape)[0], source.shape[0]) if source.shape else 1
    factored = _only_factored(chain)
    squares = [] if factored is None else [_factored_squares(factored, ops)]
    weight, along = 0.0, 0.0
    for start, stop in _blocks(chain, rows):
        old = _base_rows(source, source.shape, start, stop, ops)
        weight += _square(old)
        if factored is None:
            step = _rows(chain, old, start, stop, ops) - old
            squares.append(_row_squares(step))
            along += float((step.double() * old).sum())
    size = math.prod(source.shape)
    is_vector = len(source.shape) < 2
    by_row = torch.cat(squares) if squares else torch.zeros(1, dtype=torch.float64)
    delta = float(by_row.sum())
    peak, middle, at = (0.0, 0.0, 0) if is_vector else _peak(by_row, size // max(1, rows))
    return WeightChange(
        chain.target,
        math.sqrt(delta / size),
        math.sqrt(weight / size),
        is_vector,
        row_peak=peak,
        row_middle=middle,
        row=at,
        kept=1 + along / weight if weight else 1.0,
    )


def _rows(chain: UpdateChain, weight: torch.Tensor, start: int, stop: int, ops: TorchOps) -> torch.Tensor:
    value = as_array(weight)
    for update in chain.updates:
        value = update.fold(value, start, stop, ops)
    return as_torch(value)


def _base_rows(source: Tensor, shape: tuple[int, ...], start: int, stop: int, ops: TorchOps) -> torch.Tensor:
    """Read rows of a base's tensor; rows that it lacks are zero."""
    if not source.shape:
        return as_torch(ops.load(source))
    inside = min(stop, source.shape[0])
    if start < inside == stop:
        return ops.rows(source, start, stop)
    rows = torch.zeros((stop - start, *shape[1:]), device=ops.device)
    if start < inside:
        rows[: inside - start] = as_torch(ops.load(source, start, inside))
    return rows


def _only_factored(chain: UpdateChain) -> FactoredUpdate | None:
    first, *others = chain.updates
    return first if not others and is_factored(first) else None


def _blocks(chain: UpdateChain, rows: int) -> Iterator[tuple[int, int]]:
    step = rows if any(update.needs_whole for update in chain.updates) else BLOCK_ROWS
    return ((start, min(start + step, rows)) for start in range(0, rows, step))


def _square(values: torch.Tensor) -> float:
    # In float64 without a copy in it.
    return float(torch.linalg.vector_norm(values, dtype=torch.float64)) ** 2


def _row_squares(values: torch.Tensor) -> torch.Tensor:
    """Return the sum of squares of every row, in float64."""
    if values.ndim < 2:
        return values.double().square().reshape(-1)
    norms: torch.Tensor = torch.linalg.vector_norm(values.flatten(1), dim=1, dtype=torch.float64)
    return norms.square()


def _factored_squares(update: FactoredUpdate, ops: TorchOps) -> torch.Tensor:
    """Return the sums of squares of the rows of s·L·R: s² Σ (L (RRᵀ) ∘ L), without the product L·R."""
    left, right, scale = update.factors(ops)
    tall, wide = as_torch(left).double(), as_torch(right).double()
    squares: torch.Tensor = ((tall @ (wide @ wide.T)) * tall).sum(1)
    return (squares * (scale * scale)).clamp(min=0)


def _peak(by_row: torch.Tensor, width: int) -> tuple[float, float, int]:
    """Return the RMS of the row that changes most, that of the median changed row, and which it is."""
    if not bool(torch.isfinite(by_row).all()):
        return math.nan, math.nan, 0
    changed = by_row[by_row > 0]
    if not len(changed):
        return 0.0, 0.0, 0
    width = max(1, width)
    at = int(by_row.argmax())
    return math.sqrt(float(by_row[at]) / width), math.sqrt(float(changed.median()) / width), at
