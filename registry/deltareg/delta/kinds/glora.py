"""GLoRA: a weight is multiplied and added to, element by element, and so is its bias.

W' = W + W ∘ A + B and b' = b + b ∘ D + E + W C (Chavan et al. 2023, arXiv 2306.07967).
Each of A to E is a low-rank product, a vector, one number, or nothing, which is stored as zeros.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from deltareg.delta.kind import Effect, WeightUpdate
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.sides import plain_layer
from deltareg.delta.maths.formula import Array, Ops, Tensor

_PARTS = ("Xd", "Xu", "X", "zeros")
_STORED = {"lora": {"Xd", "Xu"}, "vector": {"X"}, "constant": {"X"}, "none": {"zeros"}}
_ROLES = {(f"glora_{letter}", part): f"{letter}.{part}" for letter in "ABCDE" for part in _PARTS}


@dataclass(frozen=True, slots=True)
class Glora:
    """Settings of the config.

    Attributes:
        r: The rank of low-rank products.
        config_A_B: The form of A and B.
        config_C: The form of C, on a layer with a bias.
        config_D_E: The form of D and E, on a layer with a bias.
    """

    r: int
    config_A_B: str  # noqa: N815  # the library's own spelling, which the manifest keeps
    config_C: str  # noqa: N815
    config_D_E: str  # noqa: N815


@dataclass(frozen=True, slots=True)
class GloraTerm:
    """One of A to E.

    Attributes:
        tensors: Two factors, or one tensor that is a matrix, a vector or a single number.
    """

    tensors: tuple[Tensor, ...]

    def rows(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        """Return rows `start:stop` in the shape of the weight's rows, (n, m) or (n,)."""
        ones = ops.zeros(*weight.shape) + 1.0
        if len(self.tensors) == 2:
            return ops.load(self.tensors[0], start, stop) @ ops.load(self.tensors[1])
        (tensor,) = self.tensors
        single = [1] * (len(weight.shape) - 1)
        if tensor.shape == (1,):
            return ones * ops.load(tensor).reshape(1, *single)
        values = ops.load(tensor, start, stop)
        return values if values.shape == weight.shape else ones * values.reshape(-1, *single)


@dataclass(frozen=True, slots=True)
class GloraUpdate:
    """W + W ∘ A + B, or the same of a bias.

    Attributes:
        factor: A, or D of a bias.
        added: B, or E.
    """

    factor: GloraTerm
    added: GloraTerm
    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        factor = self.factor.rows(weight, start, stop, ops)
        return weight + weight * factor + self.added.rows(weight, start, stop, ops)


def read(fields: Fields) -> Glora:
    """Read the form of each of A to E."""
    fields.ignore("init_weights")
    return Glora(
        fields.integer("r", 8),
        fields.choice("config_A_B", "lora", frozenset(_STORED)),
        fields.choice("config_C", "lora", frozenset(_STORED) - {"constant"}),
        fields.choice("config_D_E", "constant", frozenset(_STORED) - {"lora"}),
    )


def effects(site: Site, settings: Glora) -> Iterable[Effect]:
    """Change a linear layer's weight, and its bias if it has one."""
    plain_layer(site, site.shape[0], site.shape[-1])
    has_bias, none = bool(site.bias), "none"
    if has_bias and settings.config_C != none:
        raise site.refuse(
            "bad_config",
            "config_C adds W C to the bias; a formula for a bias that reads the weight is not supported",
            fix="train it with config_C none, or merge it with the library and push the result",
        )
    shape, (height, width) = site.shape, site.shape
    factor = _path(site, "A", settings.config_A_B, settings.r, shape)
    added = _path(site, "B", settings.config_A_B, settings.r, shape)
    on_bias = settings.config_D_E if has_bias else none
    _path(site, "C", none, settings.r, (width, 1))
    scaled = _path(site, "D", on_bias, settings.r, (height,))
    moved = _path(site, "E", on_bias, settings.r, (height,))
    yield site.changes(GloraUpdate(factor, added))
    if has_bias and on_bias != none:
        yield WeightUpdate(site.bias, GloraUpdate(scaled, moved), {})


def _path(site: Site, letter: str, told: str, r: int, shape: tuple[int, ...]) -> GloraTerm:
    """Find the tensors of one of A to E, and check them against the form in the config."""
    present = {part for part in _PARTS if f"{letter}.{part}" in site.tensors}
    if present != _STORED[told]:
        parts = ", ".join(sorted(present)) or "nothing"
        message = f"{letter} should be {told!r} by the config, and {parts} came"
        raise site.refuse("missing_tensors", message)
    tensors = tuple(site.tensors[f"{letter}.{part}"] for part in _PARTS if part in present)
    shapes: dict[str, list[tuple[int, ...]]] = {
        "lora": [(shape[0], r), (r, shape[-1])],
        "vector": [(shape[0], 1) if len(shape) > 1 else shape],
        "constant": [(1,)],
        "none": [shape],
    }
    if [tensor.shape for tensor in tensors] != shapes[told]:
        message = f"{[list(t.shape) for t in tensors]} are not {[list(s) for s in shapes[told]]}"
        raise site.refuse("shape", f"{letter}: {message}")
    return GloraTerm(tensors)


GLORA = PeftKind("lora", "glora", "GLORA", _ROLES, read, effects, optional=frozenset(_ROLES.values()))
