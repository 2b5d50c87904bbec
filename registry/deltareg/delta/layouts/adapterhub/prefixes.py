"""Prefixes of the adapters library: keys and values per layer, stored or computed by a network.

Li and Liang 2021, arXiv 2101.00190, section 4.3: P = MLP(P'), of which P' and the MLP are stored.
"""

from dataclasses import dataclass

from deltareg.delta.kind import HookInputs
from deltareg.delta.layouts.adapterhub.bottlenecks import SequenceGate
from deltareg.delta.maths.formula import Array, Function, Ops, Tensor
from deltareg.delta.sites.attention import KeyShape


@dataclass(frozen=True, slots=True)
class ComputedKeyValues:
    """Keys and values of one layer, W₂ f(W₁ p + b₁) + b₂ for every vector p.

    Attributes:
        vectors: p, (n, features).
        first: W₁ (narrow, features) and b₁ (narrow,).
        second: W₂ (2·layers·heads·width, narrow) and b₂: for every layer keys, then values.
        function: f.
        row: The layer, counted among those that have a prefix.
        shape: Of one token's keys.
    """

    vectors: Tensor
    first: tuple[Tensor, Tensor]
    second: tuple[Tensor, Tensor]
    function: Function | None
    row: int
    shape: KeyShape

    def make(self, ops: Ops) -> tuple[Array, ...]:
        """Return keys and values, (n, heads, width) each."""
        heads, width = self.shape.heads, self.shape.width
        count, size = self.vectors.shape[0], heads * width
        start, stop = 2 * self.row * size, 2 * (self.row + 1) * size
        inner = ops.load(self.vectors) @ ops.load(self.first[0]).T + ops.load(self.first[1])
        if self.function is not None:
            inner = ops.apply(self.function, inner)
        output = inner @ ops.load(self.second[0], start, stop).T
        output = output + ops.load(self.second[1], start, stop)
        keys, values = output[:, :size], output[:, size:]
        return keys.reshape(count, heads, width), values.reshape(count, heads, width)


@dataclass(frozen=True, slots=True)
class FlatKeyValues:
    """Keys and values of one layer, as they are stored.

    Attributes:
        vector: (n·2·layers·heads·width,): for every token, for every layer keys, then values.
        count: n.
        row: The layer, counted among those that have a prefix.
        shape: Of one token's keys.
    """

    vector: Tensor
    count: int
    row: int
    shape: KeyShape

    def make(self, ops: Ops) -> tuple[Array, ...]:
        """Return keys and values, (n, heads, width) each."""
        heads, width = self.shape.heads, self.shape.width
        size, start = heads * width, 2 * self.row * heads * width
        flat = ops.load(self.vector).reshape(self.count, -1)
        keys = flat[:, start : start + size]
        values = flat[:, start + size : start + 2 * size]
        return keys.reshape(self.count, heads, width), values.reshape(self.count, heads, width)


@dataclass(frozen=True, slots=True)
class PrefixGate:
    """A gate on keys and one on values, or one on both: UniPELT (arXiv 2110.07577).

    Attributes:
        gate: Its weights.
    """

    gate: SequenceGate

    def apply(self, value: Array, seen: HookInputs, ops: Ops) -> Array:
        """Return factors (rows, gates, 1) for the attention's hidden states."""
        factors = self.gate.of(value, ops)
        return factors.reshape(factors.shape[0], -1, 1)


@dataclass(frozen=True, slots=True)
class PromptVectors:
    """Vectors of a prompt.

    Attributes:
        tensor: (n, features).
    """

    tensor: Tensor

    def make(self, ops: Ops) -> tuple[Array, ...]:
        """Return the prompt's vectors."""
        return (ops.load(self.tensor),)
