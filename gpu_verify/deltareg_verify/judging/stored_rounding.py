"""How far the dtype that a delta is stored in moves its outputs, beside those of what was trained.

Weights that were trained in float32 and stored in bfloat16 are each off by up to half of a step. What
they were is lost; numbers drawn within half a step of those that are stored are as far from them as
those, and so are their outputs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deltareg.delta.kind import Effect
from deltareg.delta.maths.formula import Tensor
from deltareg.delta.network_class import view_as
from deltareg.delta.untied_names import loosen_ties
from deltareg.suites.golden import GoldenComparison, GoldenOutputs, compare, sample_of
from deltareg.tensors.array import F32, to_f32, view
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.engine import DeltaEngine, Outputs

_BITS = {"BF16": 8, "F16": 11}  # of a significand, the first one included
_LEAST_STEP = {"BF16": 2.0**-133, "F16": 2.0**-24}
_DRAWS = 4


@dataclass(frozen=True, slots=True)
class DrawnTensor:
    """A tensor whose numbers are drawn within half a step of those that are stored.

    Attributes:
        stored: The tensor as it is stored.
        seed: Which draw; the same rows are the same numbers however they are read.
    """

    stored: Tensor
    seed: int
    dtype: str = "F32"

    @property
    def name(self) -> str:
        """The tensor's name."""
        return self.stored.name

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape."""
        return self.stored.shape

    def read(self, start: int = 0, stop: int | None = None) -> memoryview:
        """Return the bytes of rows."""
        shape = self.shape
        rows = (len(range(shape[0])[start:stop]), *shape[1:]) if shape else ()
        values = to_f32(view(self.stored.read(start, stop), self.stored.dtype, rows), self.stored.dtype)
        first = start * int(np.prod(shape[1:], dtype=np.int64)) if shape else 0
        drawn = values + _half_steps(values, self.stored.dtype) * _uniform(first, values.size, self.seed).reshape(rows)
        return memoryview(drawn.astype("<f4").tobytes())


def is_stored_coarsely(case: Case, dtype: str) -> bool:
    """Return whether a delta stores numbers in a coarser dtype than its outputs were recorded in."""
    return dtype in {"F32", "F64"} and any(tensor.dtype in _BITS for tensor in case.folder.tensors.values())


def measure_rounding(
    case: Case, golden: GoldenOutputs, engine: DeltaEngine, outputs: Sequence[Outputs]
) -> GoldenComparison:
    """Return how far outputs lie apart that differ by what rounding took, at most of a few draws.

    Args:
        case: The version.
        golden: What was recorded, with its inputs.
        engine: The engine, in the dtype of the recording.
        outputs: The version's outputs for them.
    """
    pairs = zip(golden.samples, outputs, strict=True)
    own = GoldenOutputs(tuple(sample_of(sample.inputs, dict(found)) for sample, found in pairs))
    drawn = [_compare_draw(case, own, engine, seed) for seed in range(_DRAWS)]
    worst = max(drawn, key=lambda one: one.distance)
    return replace(worst, difference=max(one.difference for one in drawn))


def _compare_draw(case: Case, own: GoldenOutputs, engine: DeltaEngine, seed: int) -> GoldenComparison:
    beside = engine.beside(_effects_of(case, seed))
    return compare(own, [beside.outputs_for("attached", sample.inputs) for sample in own.samples])


def _effects_of(case: Case, seed: int) -> Sequence[Effect]:
    """Read the delta again, with the numbers of a draw."""
    account = case.account
    assert account.delta is not None, "it was read once"
    base = case.base.view if account.network_class is None else view_as(case.base.view, account.network_class)
    tensors: Mapping[str, Tensor] = {
        name: DrawnTensor(tensor, seed + 1) if tensor.dtype in _BITS else tensor
        for name, tensor in case.folder.tensors.items()
    }
    effects = account.delta.effects(tensors, base)
    return [*effects, *loosen_ties(effects, base)]


def _half_steps(values: F32, dtype: str) -> F32:
    """Return half of the distance to the next number of a dtype; zeros may well be meant."""
    exponents = np.frexp(values)[1] - _BITS[dtype]
    steps = np.maximum(np.ldexp(np.float32(1), exponents), np.float32(_LEAST_STEP[dtype]))
    return np.where(values == 0, np.float32(0), steps / 2).astype(np.float32)


def _uniform(first: int, count: int, seed: int) -> F32:
    """Return numbers in [-1, 1) by their places (SplitMix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        mixed = np.arange(first, first + count, dtype=np.uint64) + np.uint64(seed << 40)
        mixed *= np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return ((mixed >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)).astype(np.float32)
