"""The config of bottleneck adapters, and of the layers that several of them share (PHM).

What has not been compared with the library is refused: layer norms of the adapter's own,
`original_ln_after` off, and hypercomplex weights that are shared or not factorised.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from deltareg.delta.layouts.adapterhub.config import layer_numbers
from deltareg.delta.layouts.peft.config import Fields, is_number
from deltareg.delta.maths.formula import Function

ACTIVATIONS: Mapping[str, Function | None] = {
    "gelu": "gelu",
    "gelu_new": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "leakyrelu": "leaky_relu",
    "linear": None,
    "relu": "relu",
    "sigmoid": "sigmoid",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}
Residual = Literal["hidden", "sum", "input"]


@dataclass(frozen=True, slots=True)
class Hypercomplex:
    """Projections that are sums of Kronecker products, H = Σᵢ Aᵢ ⊗ (Lᵢ Rᵢ).

    Attributes:
        size: How many products, n.
        rank: Of L R.
        shares_rule: Whether all layers share A.
        has_bias: Whether a bias is added.
    """

    size: int
    rank: int
    shares_rule: bool
    has_bias: bool


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """Settings of the config.

    Attributes:
        attention: Whether there is one after each attention.
        ffn: Whether there is one after each feedforward part.
        cross: Whether there is one after each attention to the encoder.
        is_parallel: Whether it reads the sublayer's input instead of its output.
        adds_before: Whether it reads the sublayer's output with the residual added, and normalised
            where the network does that after the addition.
        residual: What bypasses the adapter: the sublayer's output, that plus the residual, or the
            adapter's own input.
        function: The activation; None for none.
        scaling: The factor on the adapter's output, or `learned`.
        has_gate: Whether a gate is on it.
        leaves_out: Numbers of layers without one.
        hypercomplex: Of the projections; None for plain matrices.
        invertible: Whether an invertible adapter follows the embeddings.
    """

    attention: bool
    ffn: bool
    cross: bool
    is_parallel: bool
    adds_before: bool
    residual: Residual
    function: Function | None
    scaling: float | Literal["learned"]
    has_gate: bool
    leaves_out: tuple[int, ...]
    hypercomplex: Hypercomplex | None
    invertible: bool

    @property
    def variant(self) -> str:
        """The name of the variant, by its most particular trait."""
        if self.hypercomplex is not None:
            return "compacter"
        if self.invertible:
            return "invertible"
        if self.is_parallel:
            return "parallel"
        return "double" if self.attention and self.ffn else "seq"


def read_bottleneck(fields: Fields) -> Bottleneck:
    """Read the method's fields; refusals are recorded in `fields`."""
    # How far it is narrowed shows in the shapes; by layer, too.
    fields.ignore("reduction_factor", "inv_adapter_reduction_factor")
    fields.refuse_unsupported("ln_before", "ln_after", "adapter_residual_before_ln")
    if not fields.flag("original_ln_after", default=True):
        fields.refuse("original_ln_after", "is off, which is not supported")
    is_parallel = fields.flag("is_parallel")
    adds_before = fields.flag("original_ln_before") and not is_parallel
    return Bottleneck(
        attention=fields.flag("mh_adapter"),
        ffn=fields.flag("output_adapter"),
        cross=fields.flag("cross_adapter"),
        is_parallel=is_parallel,
        adds_before=adds_before,
        residual=_residual(fields, adds_before=adds_before),
        function=read_activation(fields, "non_linearity"),
        scaling=_scaling(fields),
        has_gate=fields.flag("use_gating"),
        leaves_out=layer_numbers(fields, "leave_out"),
        hypercomplex=_hypercomplex(fields),
        invertible=_is_invertible(fields),
    )


def read_activation(fields: Fields, name: str, *, optional: bool = False) -> Function | None:
    """Read the name of an activation; null means none where it is optional."""
    value = fields.value(name)
    if value is None and optional:
        return None
    word = value.lower() if isinstance(value, str) else ""
    if word not in ACTIVATIONS:
        fields.refuse(name, f"is not one of {', '.join(sorted(ACTIVATIONS))}")
    return ACTIVATIONS.get(word)


def _residual(fields: Fields, *, adds_before: bool) -> Residual:
    value = fields.value("residual_before_ln")
    if value is None or value is True:
        return "hidden"
    if value is False:
        return "input"
    if value != "post_add":
        fields.refuse("residual_before_ln", 'is not true, false or "post_add"')
    elif not adds_before:
        fields.refuse("residual_before_ln", "has no meaning without original_ln_before")
    return "sum"


def _scaling(fields: Fields) -> float | Literal["learned"]:
    value = fields.value("scaling")
    if value is None:
        return 1.0
    if value in {"learned", "channel"}:
        return "learned"
    if is_number(value):
        return float(cast("float", value))
    fields.refuse("scaling", 'is not a number, "learned" or "channel"')
    return 1.0


def _is_invertible(fields: Fields) -> bool:
    value = fields.value("inv_adapter")
    if value not in {None, "nice"}:
        fields.refuse("inv_adapter", 'is not supported; only "nice" is')
    return value == "nice"


def _hypercomplex(fields: Fields) -> Hypercomplex | None:
    is_used = fields.flag("phm_layer")
    # How it was trained and where training began.
    fields.ignore("hypercomplex_nonlinearity", "learn_phm", "phm_c_init", "phm_init_range")
    layer = Hypercomplex(
        size=fields.integer("phm_dim", 4),
        rank=fields.integer("phm_rank", 1),
        shares_rule=fields.flag("shared_phm_rule", default=True),
        has_bias=fields.flag("phm_bias", default=True),
    )
    is_factored = fields.flag("factorized_phm_W", default=True)
    shares_weights = fields.flag("shared_W_phm")
    is_rule_factored = fields.flag("factorized_phm_rule")
    if not is_used:
        return None
    if not is_factored:
        fields.refuse("factorized_phm_W", "is off, which is not supported")
    if shares_weights:
        fields.refuse("shared_W_phm", "is on, which is not supported")
    if is_rule_factored:
        fields.refuse("factorized_phm_rule", "is on, which is not supported")
    return layer
