"""Lily: a layer's low-rank change mixes several second factors, by a router that sees all tokens.

h + s · (x Aᵀ) Σ_e p_e B_e, with p the softmax of x Aᵀ Rᵀ, averaged over every token of the batch
(Zhong et al. 2024, arXiv 2407.09946). The mixture depends on the inputs, so it can only be
attached, and the rows of a batch are not independent. Layers share A and B; each has a copy.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from deltareg.delta.kind import ActivationHook, Effect, HookInputs, Tap
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.sides import check_rank, plain_layer, sizes
from deltareg.delta.maths.formula import Array, Ops, Tensor
from deltareg.delta.traits import Traits


@dataclass(frozen=True, slots=True)
class Lily:
    """Settings of the config.

    Attributes:
        r: The rank.
        stride_A: How many layers in a row share a first factor.
        num_B: How many second factors are mixed.
        scaling: s.
    """

    r: int
    stride_A: int  # noqa: N815  # the library's own spelling, which the manifest keeps
    num_B: int  # noqa: N815
    scaling: float


@dataclass(frozen=True, slots=True)
class RoutedLowRank:
    """h + s · (x Aᵀ) Σ_e p_e B_e.

    Attributes:
        first: A (r, n_in).
        seconds: All B_e, one below the other (num·r, n_out).
        router: R (num, r).
        scale: s.
    """

    first: Tensor
    seconds: Tensor
    router: Tensor
    scale: float

    def apply(self, value: Array, seen: HookInputs, ops: Ops) -> Array:
        """Return the layer's output plus the routed change."""
        inputs, router = seen.arrays["inputs"], ops.load(self.router)
        tokens = math.prod(inputs.shape[:-1])
        hidden = inputs.reshape(tokens, inputs.shape[-1]) @ ops.load(self.first).T
        shares = ops.total(ops.softmax(hidden @ router.T), 0) / float(tokens)
        count, rank = router.shape
        seconds = ops.load(self.seconds)
        n_out = seconds.shape[1]
        mixed = (shares @ seconds.reshape(count, rank * n_out)).reshape(rank, n_out)
        return value + (hidden @ mixed * self.scale).reshape(*value.shape)


def read(fields: Fields) -> Lily:
    """Read the sizes and the scale."""
    fields.ignore("init_weights")
    return Lily(
        fields.integer("r", 32),
        fields.integer("stride_A", 1),
        fields.integer("num_B", 2, least=2),
        fields.number("scaling", 1.0),
    )


def effects(site: Site, settings: Lily) -> Iterable[Effect]:
    """Change the outputs of a linear layer."""
    (rank, n_in), (height, n_out) = sizes(site, "lily_A"), sizes(site, "lily_B")
    plain_layer(site, n_out, n_in)
    check_rank(site, (rank,), settings.r)
    if height != settings.num_B * rank:
        message = f"{height} rows are not {settings.num_B} factors of rank {rank}"
        raise site.refuse("shape", message, "lily_B")
    if sizes(site, "lily_router") != (settings.num_B, rank):
        raise site.refuse("shape", "it does not fit the factors", "lily_router")
    tensors = site.tensors
    hook = RoutedLowRank(tensors["lily_A"], tensors["lily_B"], tensors["lily_router"], settings.scaling)
    taps = {"inputs": Tap(site.path, "input")}
    yield ActivationHook(site.path, "after", taps, site.own, hook)


LILY = PeftKind(
    "lora",
    "lily",
    "LILY",
    {(role, "weight"): role for role in ("lily_A", "lily_B", "lily_router")},
    read,
    effects,
    foldable=False,
    usual=Traits(shared=frozenset({"lily_A", "lily_B"}), mixes_rows=True),
)
