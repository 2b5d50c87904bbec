"""DeLoRA: low-rank products of unit length, whose total is bounded by one number.

W' = W + λ / r · B diag(1 / (‖b_i‖ ‖a_i‖)) A diag(n), with n the norms of W's columns as they were
when training began (Bini et al. 2025, arXiv 2503.18225); n comes with the delta.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from deltareg.delta.kind import Effect
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.sides import ScaledRows, TransposedSide, check_rank, plain_layer, sizes
from deltareg.delta.layouts.peft.suffixes import ModuleNumbers
from deltareg.delta.layouts.peft.targets import read_numbers
from deltareg.delta.maths.formula import Array, Ops, Tensor
from deltareg.delta.maths.updates import Factor, LowRank

_LEAST_NORM = 1e-4


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the config; λ was trained and is a tensor.

    Attributes:
        r: The rank of modules that `ranks` does not name.
        ranks: Ranks of those modules.
    """

    r: int
    ranks: ModuleNumbers = field(default_factory=ModuleNumbers)


@dataclass(frozen=True, slots=True)
class NormalisedProduct:
    """B diag(λ / (‖b_i‖ ‖a_i‖)), no norm being taken as less than 1e-4.

    Attributes:
        a: (r, n_in).
        b: (n_out, r).
        bound: λ, a single number.
    """

    a: Tensor
    b: Tensor
    bound: Tensor

    def whole(self, ops: Ops) -> Array:
        return self._scale_rows(ops.load(self.b), ops)

    def rows(self, start: int, stop: int, ops: Ops) -> Array:
        return self._scale_rows(ops.load(self.b, start, stop), ops)

    def _scale_rows(self, rows: Array, ops: Ops) -> Array:
        norms = _floor_norms(ops.row_norms(ops.load(self.a)).T, ops)
        norms = norms * _floor_norms(ops.column_norms(ops.load(self.b)), ops)
        return rows / norms * ops.load(self.bound).reshape(1, 1)


def read(fields: Fields) -> Settings:
    """Read the ranks."""
    fields.ignore("delora_lambda", "init_weights", "lambda_pattern", "module_dropout")
    return Settings(fields.integer("r", 8), read_numbers(fields, "rank_pattern", whole=True))


def effects(site: Site, settings: Settings) -> Iterable[Effect]:
    """Add the normalised product to the weight."""
    (rank, n_in), (n_out, other) = sizes(site, "delora_A"), sizes(site, "delora_B")
    check_rank(site, (rank, other), settings.ranks.of(site.module, settings.r))
    plain_layer(site, n_out, n_in)
    if site.tensors["delora_w_norm"].shape != (n_in,):
        raise site.refuse("shape", f"it is not a number for each of {n_in}", "delora_w_norm")
    if site.tensors["delora_lambda"].shape != (1,):
        raise site.refuse("shape", "it is not a single number", "delora_lambda")
    tensors = site.tensors
    left = NormalisedProduct(tensors["delora_A"], tensors["delora_B"], tensors["delora_lambda"])
    right = TransposedSide(ScaledRows(Factor(tensors["delora_A"], flipped=True), tensors["delora_w_norm"]))
    yield site.changes(LowRank(left, right, 1.0 / rank))


def _floor_norms(norms: Array, ops: Ops) -> Array:
    return ops.apply("relu", norms - _LEAST_NORM) + _LEAST_NORM


DELORA = PeftKind(
    "lora",
    "delora",
    "DELORA",
    {(role, ""): role for role in ("delora_A", "delora_B", "delora_lambda", "delora_w_norm")},
    read,
    effects,
)
