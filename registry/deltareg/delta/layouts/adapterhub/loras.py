"""The formulas of the library's LoRA, VeRA and IA3: on weights where possible, else on activations.

LoRA: Hu et al. 2021, arXiv 2106.09685. VeRA: Kopiczko et al. 2023, arXiv 2310.11454. IA3: Liu et
al. 2022, arXiv 2205.05638. A fused projection has the outputs of q, k and v one after the other;
some of these parts are adapted, each by its own rows of A and of B.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from deltareg.delta.kind import HookInputs
from deltareg.delta.layouts.adapterhub.bottlenecks import SequenceGate
from deltareg.delta.maths.formula import Array, Ops, Tensor
from deltareg.delta.maths.updates import Axis

INPUT = "input"


@dataclass(frozen=True, slots=True)
class FusedParts:
    """Which equal parts of the outputs are adapted.

    Attributes:
        parts: For each part its number among the adapted ones; None for one that is not.
    """

    parts: tuple[int | None, ...]

    @property
    def adapted(self) -> int:
        """How many parts are adapted."""
        return sum(part is not None for part in self.parts)

    def spread(self, factor: Array, ops: Ops) -> Array:
        """Spread B (…, r) to (n_out, adapted · r): each part's rows beside its own columns."""
        rows, rank = factor.shape[0] // self.adapted, factor.shape[1]
        bands: list[Array] = []
        for part in self.parts:
            cells = [ops.zeros(rows, rank)] * self.adapted
            if part is not None:
                cells[part] = factor[part * rows : (part + 1) * rows]
            bands.append(ops.concat(cells, 1))
        return ops.concat(bands, 0)

    def fill_with_ones(self, values: Array, ops: Ops, *, size: int) -> Array:
        """Expand (…, adapted · size) to (…, parts · size), with ones for unadapted parts."""
        rest = (slice(None),) * (len(values.shape) - 1)
        ones = ops.zeros(*values.shape[:-1], size) + 1.0
        cells = [
            ones if part is None else values[(*rest, slice(part * size, (part + 1) * size))] for part in self.parts
        ]
        return ops.concat(cells, len(rest))


@dataclass(frozen=True, slots=True)
class FusedLowRank:
    """W + scale · B'·A, where B' has the parts of B where they belong.

    Attributes:
        a: (adapted · r, n_in).
        b: (adapted · n_out / parts, r).
        blocks: Which parts of the outputs are adapted.
        scale: The factor on the product.
        is_transposed: Whether W is stored (in, out).
    """

    a: Tensor
    b: Tensor
    blocks: FusedParts
    scale: float
    is_transposed: bool
    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        """Return the new rows; see `deltareg.delta.maths.formula.Update`."""
        left, right, scale = self.factors(ops)
        return weight + (left[start:stop] @ right) * scale

    def factors(self, ops: Ops) -> tuple[Array, Array, float]:
        """Return left (n_out, r), right (r, n_in) and the scale, as W is stored."""
        left, right = self.blocks.spread(ops.load(self.b), ops), ops.load(self.a)
        return (right.T, left.T, self.scale) if self.is_transposed else (left, right, self.scale)


@dataclass(frozen=True, slots=True)
class FusedScaled:
    """W ∘ l over outputs, with ones for the parts that are not adapted.

    Attributes:
        vector: l, (adapted · n_out / parts, 1).
        blocks: Which parts of the outputs are adapted.
        scale: A factor on l and on those ones alike.
        along: Whether outputs are rows or columns of W as it is stored.
    """

    vector: Tensor
    blocks: FusedParts
    scale: float
    along: Axis
    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        """Return the new rows; see `deltareg.delta.maths.formula.Update`."""
        vector = ops.load(self.vector).reshape(1, -1)
        size = vector.shape[1] // self.blocks.adapted
        factors = self.blocks.fill_with_ones(vector, ops, size=size) * self.scale
        if self.along == "rows":
            flat = factors.reshape(-1, *[1] * (len(weight.shape) - 1))
            return weight * flat[start:stop]
        return weight * factors


@dataclass(frozen=True, slots=True)
class AddLowRank:
    """o + B' A x, times the gate or else the scale.

    Attributes:
        factors: Matrices whose product is B'·A, from left to right; the last ones first meet x.
        blocks: How the first of them is spread over the outputs; None if it is whole.
        scale: The factor without a gate.
        gate: A gate for each adapted part.
    """

    factors: Sequence[Tensor]
    blocks: FusedParts | None
    scale: float
    gate: SequenceGate | None

    def apply(self, value: Array, seen: HookInputs, ops: Ops) -> Array:
        """Return the module's new output."""
        source = seen.arrays[INPUT]
        matrices = [ops.load(factor) for factor in self.factors]
        if self.blocks is not None:
            matrices[0] = self.blocks.spread(matrices[0], ops)
        output = source
        for matrix in reversed(matrices):
            output = output @ matrix.T
        if self.gate is None:
            return value + output * self.scale
        gates = self.gate.of(source, ops)
        if self.blocks is None:
            return value + output * gates
        return value + output * _wide(gates, self.blocks, ops, size=value.shape[-1])


def _wide(gates: Array, blocks: FusedParts, ops: Ops, *, size: int) -> Array:
    """Repeat gates (rows, 1, adapted) over the outputs that they apply to."""
    width = size // len(blocks.parts)
    ones = ops.zeros(*gates.shape[:-1], width) + 1.0
    cells = [gates[:, :, at : at + 1] * ones for at in range(blocks.adapted)]
    return blocks.fill_with_ones(ops.concat(cells, 2), ops, size=width)
