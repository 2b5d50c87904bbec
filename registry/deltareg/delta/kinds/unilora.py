"""Uni-LoRA: the entries of all factors are taken from one vector, by places that are drawn.

W' = W + B A with A = θ[places] ∘ scales, and B alike (Li et al. 2025, arXiv 2506.00799). The places
come from NumPy's generator, whose numbers may change between releases, and from the order of
modules in memory: a delta that did not save them is refused.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from deltareg.delta.kind import Effect
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.sides import check_rank, low_rank, sizes
from deltareg.delta.maths.formula import Array, Ops, Tensor


@dataclass(frozen=True, slots=True)
class Unilora:
    """Settings of the config.

    Attributes:
        r: The rank.
        theta_d_length: The length of the vector that all modules share.
    """

    r: int
    theta_d_length: int


@dataclass(frozen=True, slots=True)
class GatheredFactor:
    """θ[places] ∘ scales.

    Attributes:
        vector: θ.
        places: (n, m).
        scales: (n, m).
    """

    vector: Tensor
    places: Tensor
    scales: Tensor

    def whole(self, ops: Ops) -> Array:
        places = ops.integers(self.places)
        values = ops.take(ops.load(self.vector), places.reshape(-1), 0)
        return values.reshape(*places.shape) * ops.load(self.scales)

    def rows(self, start: int, stop: int, ops: Ops) -> Array:
        return self.whole(ops)[start:stop]


def read(fields: Fields) -> Unilora:
    """Read the sizes; refuse a delta without its places."""
    fields.ignore("init_theta_d_bound", "init_weights", "proj_seed", "unilora_dropout")
    if not fields.flag("save_indices"):
        fields.refuse(
            "save_indices",
            "leaves the places to NumPy's generator and to the order of modules in memory: without"
            " them a UNILORA delta is not self-contained",
            code="unknown_kind",
            fix="set save_indices and save the delta again from the training process",
        )
    return Unilora(fields.integer("r", 4), fields.integer("theta_d_length", 256))


def effects(site: Site, settings: Unilora) -> Iterable[Effect]:
    """Add the product of the two factors to the weight."""
    (rank, n_in), (n_out, other) = sizes(site, "indices_A"), sizes(site, "indices_B")
    check_rank(site, (rank, other), settings.r)
    vector, tensors = site.tensors["theta"], site.tensors
    if vector.shape != (settings.theta_d_length,):
        message = f"{list(vector.shape)} is not the {settings.theta_d_length} numbers of the config"
        raise site.refuse("shape", message, "theta")
    left = GatheredFactor(vector, tensors["indices_B"], tensors["scales_B"])
    right = GatheredFactor(vector, tensors["indices_A"], tensors["scales_A"])
    yield site.changes(low_rank(site, left, right, out_in=(n_out, n_in), scale=1.0))


_OWN = ("indices_A", "indices_B", "scales_A", "scales_B")
UNILORA = PeftKind(
    "lora",
    "unilora",
    "UNILORA",
    {(f"unilora_{role}", ""): role for role in _OWN},
    read,
    effects,
    shared={"unilora_theta_d": "theta"},
)
