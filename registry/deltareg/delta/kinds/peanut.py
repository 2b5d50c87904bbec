"""PEANuT: the change of a weight is what a small network makes of the weight.

H_0 = f(A W); each of `depth` encoders gives H_i = f(E_i H_{i-1}), each decoder f(D_i H) plus the
encoder's input on its level; W' = W + s · B H (Zhong et al. 2024, arXiv 2410.01870).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from deltareg.delta.kind import Effect
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.sides import check_rank, plain_layer, require, sizes
from deltareg.delta.maths.formula import Array, Function, Ops, Tensor

_DEEPEST = 16
_FUNCTIONS: dict[str, Function] = {
    "gelu": "gelu",
    "gelu_new": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "leaky_relu": "leaky_relu",
    "relu": "relu",
    "sigmoid": "sigmoid",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}
_ENCODERS = tuple(f"peanut_encoders.{at}" for at in range(_DEEPEST))
_DECODERS = tuple(f"peanut_decoders.{at}" for at in range(_DEEPEST))


@dataclass(frozen=True, slots=True)
class Peanut:
    """Settings of the config.

    Attributes:
        r: The width of the network.
        depth: How many encoders and decoders it has.
        act_fn: Its activation, by the library's name.
        scaling: s.
    """

    r: int
    depth: int
    act_fn: str
    scaling: float


@dataclass(frozen=True, slots=True)
class PeanutUpdate:
    """W + s · B H.

    Attributes:
        first: A (r, n_out).
        encoders: (r, r) each.
        decoders: (r, r) each, as many.
        last: B (n_out, r).
        function: f.
        scale: s.
    """

    first: Tensor
    encoders: tuple[Tensor, ...]
    decoders: tuple[Tensor, ...]
    last: Tensor
    function: Function
    scale: float
    needs_whole = True
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        hidden = ops.apply(self.function, ops.load(self.first) @ weight)
        levels: list[Array] = []
        for encoder in self.encoders:
            levels.append(hidden)
            hidden = ops.apply(self.function, ops.load(encoder) @ hidden)
        for decoder in self.decoders:
            hidden = ops.apply(self.function, ops.load(decoder) @ hidden) + levels.pop()
        return weight + (ops.load(self.last) @ hidden) * self.scale


def read(fields: Fields) -> Peanut:
    """Read the network's shape."""
    fields.ignore("init_weights")
    settings = Peanut(
        fields.integer("r", 32),
        fields.integer("depth", 0, least=0),
        fields.choice("act_fn", "relu", frozenset(_FUNCTIONS)),
        fields.number("scaling", 1.0),
    )
    if settings.depth > _DEEPEST:
        fields.refuse("depth", f"is more than {_DEEPEST}")
    return settings


def effects(site: Site, settings: Peanut) -> Iterable[Effect]:
    """Add to a linear layer's weight the output of the network on it."""
    (rank, n_out), last = sizes(site, "peanut_A"), sizes(site, "peanut_B")
    plain_layer(site, n_out, site.shape[-1])
    check_rank(site, (rank, last[1]), settings.r)
    used = (_ENCODERS[: settings.depth], _DECODERS[: settings.depth])
    require(site, *used[0], *used[1])
    if len(site.own) != 2 + 2 * settings.depth:
        message = f"{len(site.own)} tensors came for a network of depth {settings.depth}"
        raise site.refuse("unexpected_tensors", message)
    encoders, decoders = (tuple(site.tensors[role] for role in roles) for roles in used)
    first, final = site.tensors["peanut_A"], site.tensors["peanut_B"]
    function = _FUNCTIONS[settings.act_fn]
    yield site.changes(PeanutUpdate(first, encoders, decoders, final, function, settings.scaling))


_INNER = {
    (marker, f"{at}.weight"): f"{marker}.{at}"
    for marker in ("peanut_encoders", "peanut_decoders")
    for at in range(_DEEPEST)
}
PEANUT = PeftKind(
    "lora",
    "peanut",
    "PEANUT",
    {("peanut_A", "weight"): "peanut_A", ("peanut_B", "weight"): "peanut_B", **_INNER},
    read,
    effects,
    optional=frozenset(_INNER.values()),
)
