"""The config of the library's LoRA, and of its IA3 and VeRA."""

from dataclasses import dataclass

from deltareg.delta.layouts.adapterhub.config import layer_numbers
from deltareg.delta.layouts.peft.config import Fields

MATRICES = ("q", "k", "v", "o")


@dataclass(frozen=True, slots=True)
class AdapterLoraConfig:
    """Settings of the config.

    Attributes:
        rank: r.
        scale: The factor on B·A, alpha / r; of IA3 the factor on the vector, alpha.
        attention: Whether projections of the attention are adapted.
        matrices: Which of them, of q, k, v and o.
        first: Whether what the library calls the intermediate projection is adapted.
        second: Whether what it calls the output projection is.
        leaves_out: Numbers of layers that are not adapted.
        has_gate: Whether a gate is on it; the scale is then not used.
        is_scaling: Whether it scales outputs (IA3) instead of adding to them.
        is_vector_based: Whether all layers share A and B (VeRA).
    """

    rank: int
    scale: float
    attention: bool
    matrices: tuple[str, ...]
    first: bool
    second: bool
    leaves_out: tuple[int, ...]
    has_gate: bool
    is_scaling: bool
    is_vector_based: bool

    @property
    def fused(self) -> tuple[str, ...]:
        """Those of q, k and v that are adapted, in the order of a fused projection."""
        return tuple(name for name in "qkv" if name in self.matrices)


def read_lora(fields: Fields) -> AdapterLoraConfig:
    """Read the method's fields; refusals are recorded in `fields`."""
    if fields.flag("use_dora"):
        fields.refuse("use_dora", "is not supported in an adapter of this library")
    mode = fields.choice("composition_mode", "add", frozenset({"add", "scale"}))
    rank, alpha = fields.integer("r", 8), fields.number("alpha", 8)
    starts = (fields.value("vera_d"), fields.value("vera_b"))  # values of the start, but they tell
    is_scaling, is_vector_based = mode == "scale", any(isinstance(n, float) for n in starts)
    has_gate = fields.flag("use_gating")
    if is_scaling and (rank != 1 or is_vector_based or has_gate):
        fields.refuse("composition_mode", "is scale, which is not supported with these fields")
    return AdapterLoraConfig(
        rank=rank,
        scale=alpha if is_scaling else alpha / rank,
        attention=fields.flag("selfattn_lora", default=True),
        matrices=_matrices(fields),
        first=fields.flag("intermediate_lora"),
        second=fields.flag("output_lora"),
        leaves_out=layer_numbers(fields, "leave_out"),
        has_gate=has_gate,
        is_scaling=is_scaling,
        is_vector_based=is_vector_based,
    )


def _matrices(fields: Fields) -> tuple[str, ...]:
    matrices = fields.texts("attn_matrices")
    if not set(matrices) <= set(MATRICES) or len(set(matrices)) != len(matrices):
        fields.refuse("attn_matrices", f"is not a list of {', '.join(MATRICES)}")
    return tuple(name for name in MATRICES if name in matrices)
