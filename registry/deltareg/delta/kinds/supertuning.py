"""Super-Tuning: the largest weights of a layer change, each by a number of its own.

W' = W + S, and + alpha/r · B·A in its hybrid form "Supra" (arXiv 2607.09287).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from deltareg.delta.kind import Effect, WeightUpdate
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.rotations import inputs_of
from deltareg.delta.layouts.peft.scatter import ScatterAdd
from deltareg.delta.maths.updates import Factor, LowRank

_FACTORS = ("supertuning_lora_A", "supertuning_lora_B")


@dataclass(frozen=True, slots=True)
class Supertuning:
    """Settings of the config.

    Attributes:
        sparsity: The share of a layer's weights that does not change.
        r: The rank of the hybrid form; 0 for the plain one.
        lora_alpha: The numerator of its scale.
    """

    sparsity: float
    r: int
    lora_alpha: float


def read(fields: Fields) -> Supertuning:
    """Read the counts; the places of the weights must have been saved."""
    fields.ignore("select_top", "lora_dropout", "init_weights")
    if not fields.flag("save_precomputed_indices", default=True):
        fields.refuse(
            "save_precomputed_indices",
            "leaves it to the base which weights change, and equal ones could come out in another order",
            code="not_self_contained",
            fix="save it with save_precomputed_indices=True",
        )
    r = fields.integer("r", 0)
    alpha = fields.number("lora_alpha", 2 * r)
    return Supertuning(fields.number("sparsity", 0.99), r, alpha)


def effects(site: Site, settings: Supertuning) -> Iterable[Effect]:
    """Add the stored values at their places, and the factors of a hybrid."""
    inputs_of(site)
    values = site.tensors["supertuning_values"]
    if len(site.shape) != 2:
        raise site.refuse("shape", f"{site.target} {list(site.shape)} is no linear layer's")
    height, width = site.shape
    count = int(height * width * (1 - settings.sparsity))
    places = site.tensors["supertuning_indices"]
    if values.shape != (count,) or places.shape != (count,):
        message = f"{list(values.shape)} and {list(places.shape)} are not the {count} weights"
        message = f"{message} that sparsity {settings.sparsity} means here"
        raise site.refuse("shape", message, "supertuning_values")
    sparse = ScatterAdd(values, places, (height, width))
    own = {name: role for name, role in site.own.items() if role not in _FACTORS}
    yield WeightUpdate(site.target, sparse, own, site.reads)
    yield from _factors(site, settings)


def _factors(site: Site, settings: Supertuning) -> Iterable[Effect]:
    factors = [site.tensors[role] for role in _FACTORS if role in site.tensors]
    if len(factors) != (2 if settings.r else 0):
        message = f"{len(factors)} of the factors came, and r is {settings.r or 'not set'}"
        raise site.refuse("unexpected_tensors" if factors else "missing_tensors", message)
    if not factors:
        return
    a, b = factors
    if a.shape[:1] != (settings.r,) or b.shape[1:] != (settings.r,):
        message = f"A {list(a.shape)} and B {list(b.shape)} are not of rank {settings.r}"
        raise site.refuse("rank", message, _FACTORS[0])
    update = LowRank(Factor(b), Factor(a), settings.lora_alpha / settings.r)
    consumes = {name: role for name, role in site.own.items() if role in _FACTORS}
    yield WeightUpdate(site.target, update, consumes, site.reads)


SUPERTUNING = PeftKind(
    "sparse",
    "supertuning",
    "SUPERTUNING",
    {
        ("supertuning_values", ""): "supertuning_values",
        ("supertuning_indices", ""): "supertuning_indices",
        (_FACTORS[0], "weight"): _FACTORS[0],
        (_FACTORS[1], "weight"): _FACTORS[1],
    },
    read,
    effects,
    optional=frozenset(_FACTORS),
)
