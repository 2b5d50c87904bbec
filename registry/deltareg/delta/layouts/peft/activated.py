"""Low-rank changes that begin where a phrase begins: from its last occurrence on, in each row.

Greenewald et al. 2025, arXiv 2504.12397. Everything before the phrase is as in the base, so its
keys and values can be shared with the base.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.delta.kind import HookInputs
from deltareg.delta.maths.formula import Array, Ops
from deltareg.delta.maths.updates import LowRank
from deltareg.errors import InvalidInput

FIELD = "alora_invocation_tokens"
INPUTS, PROMPT = "inputs", "prompt"


def invocation(config: Mapping[str, object] | None) -> object:
    """Return the value that a config has for the phrase; falsy if it names none."""
    return (config or {}).get(FIELD)


@dataclass(frozen=True, slots=True)
class ActivatedLowRank:
    """y + m · s·(x Rᵀ)Lᵀ, where m is one from the phrase's last occurrence on, and zero before.

    If the prompt is longer than the input, as in decoding with a cache, the two are aligned at
    their ends; the library counts from the end as well.

    Attributes:
        change: s·L·R, in the orientation of the stored weight.
        is_in_out: Whether that is (in, out).
        phrase: The tokens.
    """

    change: LowRank
    is_in_out: bool
    phrase: tuple[int, ...]

    def apply(self, value: Array, seen: HookInputs, ops: Ops) -> Array:
        """Return the layer's output, with the change from the phrase on.

        Raises:
            InvalidInput: The layer does not see rows of tokens, as an expert among others does not.
        """
        prompt = seen.arrays.get(PROMPT)
        if prompt is None:  # only embeddings were given: the library leaves it out as well
            return value
        if len(value.shape) != 3 or value.shape[0] != prompt.shape[0]:
            raise InvalidInput("an activated LoRA is for layers that see the rows of a prompt")
        left, right, scale = self.change.factors(ops)
        if self.is_in_out:
            left, right = right.T, left.T
        change = seen.arrays[INPUTS] @ right.T @ left.T * scale
        rows, length = value.shape[0], value.shape[1]
        return value + change * _last(self._marks(prompt, ops), length, ops).reshape(rows, length, 1)

    def _marks(self, prompt: Array, ops: Ops) -> Array:
        """Mark the positions of a prompt from the phrase's last occurrence on."""
        (rows, length), size = prompt.shape, len(self.phrase)
        starts = length - size + 1
        if starts < 1:
            return ops.zeros(rows, length)
        marks = ops.zeros(rows, starts) + 1.0
        for at, token in enumerate(self.phrase):
            distance = ops.apply("abs", prompt[:, at : at + starts] - float(token))
            marks = marks * ops.apply("relu", -distance + 1.0)
        ahead = _any_ahead(marks, ops)
        later = ops.concat([ahead[:, 1:], ops.zeros(rows, size)], 1)
        return (-later + 1.0) * ahead[:, :1]


def _any_ahead(found: Array, ops: Ops) -> Array:
    """Mark each place that is a one or has a one after it."""
    rows, length = found.shape
    step = 1
    while step < length:
        other = ops.concat([found[:, step:], ops.zeros(rows, step)], 1)
        found = found + other - found * other
        step *= 2
    return found


def _last(marks: Array, length: int, ops: Ops) -> Array:
    """Return the last columns; if there are too few, zeros come first."""
    rows, have = marks.shape
    if length > have:
        return ops.concat([ops.zeros(rows, length - have), marks], 1)
    return marks[:, have - length :]
