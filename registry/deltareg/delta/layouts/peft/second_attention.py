"""A gated attention over learned tokens, beside the layer's own."""

import math
from dataclasses import dataclass

from deltareg.delta.kind import HookInputs
from deltareg.delta.maths.formula import Array, Ops, Tensor
from deltareg.delta.sites.attention import KeyShape

QUERIES, KEYS, VALUES, OUT = "queries", "keys", "values", "out"
COSINES, SINES = "cosines", "sines"


@dataclass(frozen=True, slots=True)
class SecondAttention:
    """y + g · o(softmax(q Kᵀ / √width) V).

    Attributes:
        prompt: (1, n, features).
        gate: g, (1,).
        shape: Of the base's keys.
        heads: How many heads queries have.
    """

    prompt: Tensor
    gate: Tensor
    shape: KeyShape
    heads: int

    def apply(self, value: Array, seen: HookInputs, ops: Ops) -> Array:
        """Return y (rows, tokens, features) plus the gated attention."""
        rows, tokens = value.shape[0], value.shape[1]
        groups, width = self.shape.heads, self.shape.width
        each = self.heads // groups  # so many heads share keys and values, one after the other
        size = groups * each * width
        queries, keys, values = self._project_prompt(seen, ops, size)
        queries = queries.reshape(rows, tokens, self.heads, width)
        if COSINES in seen.arrays:
            queries = _rotate_queries(queries, seen.arrays[COSINES], seen.arrays[SINES], ops)
        queries = ops.permute(queries.reshape(rows, tokens, groups, each, width), 0, 2, 3, 1, 4)
        queries = queries.reshape(rows, groups, each * tokens, width)
        scores = queries @ ops.permute(keys.reshape(-1, groups, width), 1, 2, 0)
        shares = ops.softmax(scores / math.sqrt(width)) * ops.load(self.gate)
        attended = shares @ ops.permute(values.reshape(-1, groups, width), 1, 0, 2)
        attended = ops.permute(attended.reshape(rows, groups, each, tokens, width), 0, 3, 1, 2, 4)
        attended = attended.reshape(rows, tokens, size)
        return value + (seen.functions[OUT](attended) if OUT in seen.functions else attended)

    def _project_prompt(self, seen: HookInputs, ops: Ops, size: int) -> tuple[Array, Array, Array]:
        """Return the layer's queries (rows, tokens, …), and the prompt's keys and values (n, …)."""
        _, count, features = self.prompt.shape
        prompt, queries = ops.load(self.prompt).reshape(count, features), seen.arrays[QUERIES]
        if VALUES in seen.functions:
            return queries, seen.functions[KEYS](prompt), seen.functions[VALUES](prompt)
        fused = seen.functions[KEYS](prompt)
        return queries[:, :, :size], fused[:, size : 2 * size], fused[:, 2 * size :]


def _rotate_queries(queries: Array, cosines: Array, sines: Array, ops: Ops) -> Array:
    """Rotate queries (rows, tokens, heads, width) by angles (rows or 1, tokens, width)."""
    rows, tokens, width = cosines.shape
    half = width // 2
    turned = ops.concat([-queries[:, :, :, half:], queries[:, :, :, :half]], 3)
    angles = (rows, tokens, 1, width)
    return queries * cosines.reshape(*angles) + turned * sines.reshape(*angles)
