"""Bottleneck adapters as functions of a running network: narrow, activate, widen, add.

Houlsby et al. 2019, arXiv 1902.00751; Pfeiffer et al. 2020, arXiv 2005.00247; in parallel, He et
al. 2021, arXiv 2110.04366. A hook changes a sublayer's output before the network adds the residual
to it (and perhaps normalises the sum), so the rest of the network runs unchanged.
"""

from dataclasses import dataclass
from typing import Protocol

from deltareg.delta.kind import HookInputs
from deltareg.delta.layouts.adapterhub.bottleneck_config import Residual
from deltareg.delta.maths.formula import Array, Function, Ops, Tensor

RESIDUAL = "residual"
NORM = "norm"


class Projection(Protocol):
    """A map of the last dimension."""

    def project(self, array: Array, ops: Ops) -> Array:
        """Map (…, n_in) to (…, n_out)."""
        ...


@dataclass(frozen=True, slots=True)
class LinearProjection:
    """x Wᵀ + b.

    Attributes:
        weight: (n_out, n_in).
        bias: (n_out,), or None.
    """

    weight: Tensor
    bias: Tensor | None

    def project(self, array: Array, ops: Ops) -> Array:
        """Map (…, n_in) to (…, n_out)."""
        projected = array @ ops.load(self.weight).T
        return projected if self.bias is None else projected + ops.load(self.bias)


@dataclass(frozen=True, slots=True)
class KroneckerSum:
    """x H + b with H = Σᵢ Aᵢ ⊗ (Lᵢ Rᵢ): Compacter (Karimi Mahabadi et al. 2021, arXiv 2106.04647).

    Attributes:
        rule: A, (n, n, n).
        left: L, (n, n_in / n, r).
        right: R, (n, r, n_out / n).
        bias: (n_out,), or None.
    """

    rule: Tensor
    left: Tensor
    right: Tensor
    bias: Tensor | None

    def project(self, array: Array, ops: Ops) -> Array:
        """Map (…, n_in) to (…, n_out)."""
        rule, parts = ops.load(self.rule), ops.load(self.left) @ ops.load(self.right)
        size, rows, columns = parts.shape
        matrix = ops.zeros(size * rows, size * columns)
        for at in range(size):
            block = parts[at : at + 1].reshape(rows, columns)
            matrix = matrix + ops.kron(rule[at : at + 1].reshape(size, size), block)
        projected = array @ matrix
        return projected if self.bias is None else projected + ops.load(self.bias)


@dataclass(frozen=True, slots=True)
class SequenceGate:
    """sigmoid(x wᵀ + b), averaged over the sequence: UniPELT (Mao et al. 2021, arXiv 2110.07577).

    A row's gate depends on all of its positions, padding and what comes later included.

    Attributes:
        weight: (gates, features).
        bias: (gates,).
    """

    weight: Tensor
    bias: Tensor

    def of(self, array: Array, ops: Ops) -> Array:
        """Map (rows, positions, features) to gates (rows, 1, gates)."""
        gates = ops.apply("sigmoid", LinearProjection(self.weight, self.bias).project(array, ops))
        return ops.total(gates, 1) / gates.shape[1]


@dataclass(frozen=True, slots=True)
class BottleneckBody:
    """up(f(down(x))) · scale · gate, without the bypass.

    Attributes:
        down: To the narrow side.
        up: Back.
        function: f; None for none.
        scale: A number, or a trained tensor of one or of all features.
        gate: The gate, if there is one.
    """

    down: Projection
    up: Projection
    function: Function | None
    scale: float | Tensor
    gate: SequenceGate | None

    def compute_added(self, array: Array, ops: Ops) -> Array:
        """Return the term to add, (rows, positions, features)."""
        narrow = self.down.project(array, ops)
        if self.function is not None:
            narrow = ops.apply(self.function, narrow)
        scale = self.scale if isinstance(self.scale, (int, float)) else ops.load(self.scale)
        added = self.up.project(narrow, ops) * scale
        return added if self.gate is None else added * self.gate.of(array, ops)


@dataclass(frozen=True, slots=True)
class SequentialBottleneck:
    """A sublayer's output passes through the adapter.

    Attributes:
        body: The adapter.
        adds_before: Whether the adapter reads h + r (normalised, where a norm is tapped) instead
            of h; r is the residual.
        around: The bypass: h, h + r, or the adapter's own input.
    """

    body: BottleneckBody
    adds_before: bool
    around: Residual

    def apply(self, value: Array, seen: HookInputs, ops: Ops) -> Array:
        """Return the sublayer's new output."""
        body_input = total = value
        if self.adds_before:
            body_input = total = value + seen.arrays[RESIDUAL]
            if NORM in seen.functions:
                body_input = seen.functions[NORM](total)
        around = {"hidden": value, "sum": total, "input": body_input}[self.around]
        return self.body.compute_added(body_input, ops) + around


@dataclass(frozen=True, slots=True)
class ParallelBottleneck:
    """The adapter reads the sublayer's input, before any norm, and adds to the sublayer's output.

    Attributes:
        body: The adapter.
    """

    body: BottleneckBody

    def apply(self, value: Array, seen: HookInputs, ops: Ops) -> Array:
        """Return the sublayer's new output."""
        return value + self.body.compute_added(seen.arrays[RESIDUAL], ops)


@dataclass(frozen=True, slots=True)
class InvertibleCoupling:
    """y₁ = x₁ + F(x₂), y₂ = x₂ + G(y₁) over the halves of the features.

    NICE couplings (Dinh et al. 2014, arXiv 1410.8516) after the embeddings, as in MAD-X (Pfeiffer
    et al. 2020, arXiv 2005.00052).

    Attributes:
        first: F.
        second: G.
    """

    first: BottleneckBody
    second: BottleneckBody

    def apply(self, value: Array, seen: HookInputs, ops: Ops) -> Array:
        """Return the new embeddings."""
        half = value.shape[-1] // 2
        rest = (slice(None),) * (len(value.shape) - 1)
        left, right = value[(*rest, slice(half))], value[(*rest, slice(half, None))]
        left = left + self.first.compute_added(right, ops)
        right = right + self.second.compute_added(left, ops)
        return ops.concat([left, right], len(rest))
