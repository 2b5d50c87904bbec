"""RandLoRA: a sum of many random low-rank products, each with its own diagonal matrices.

W' = W + alpha / r · Σ B_i Λ_i A Γ_i (Albert et al. 2025, arXiv 2502.00987), A being on
the smaller side of the layer. All modules share A and the B_i, which must have been saved (they are
drawn in a dtype that depends on the machine); the library saves them again with every module.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from deltareg.delta.kind import Effect
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.sides import TransposedSide, check_rank, layer, low_rank, sizes
from deltareg.delta.maths.formula import Array, Ops, Tensor


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the config.

    Attributes:
        r: The rank of each product.
        randlora_alpha: The numerator of the scale.
    """

    r: int
    randlora_alpha: float


@dataclass(frozen=True, slots=True)
class LargeFactor:
    """All B_i side by side: (max(n_out, n_in), bases · r), the rank running fastest.

    Attributes:
        bases: (at least the height, at least `count`, r).
        height: How many rows the factor has.
        count: How many bases it uses.
    """

    bases: Tensor
    height: int
    count: int

    def whole(self, ops: Ops) -> Array:
        return self.rows(0, self.height, ops)

    def rows(self, start: int, stop: int, ops: Ops) -> Array:
        bases = ops.load(self.bases, start, stop, is_part=True)[:, : self.count]
        return bases.reshape(stop - start, self.count * self.bases.shape[2])


@dataclass(frozen=True, slots=True)
class SmallFactor:
    """All Λ_i A Γ_i below each other: (r · bases, min(n_out, n_in)), the base running fastest.

    The order differs from that of `LargeFactor`; the library pairs them so.

    Attributes:
        shared: A (r, 1, at least the width).
        scales: Λ (r, bases).
        weights: Γ (bases, width).
    """

    shared: Tensor
    scales: Tensor
    weights: Tensor

    def whole(self, ops: Ops) -> Array:
        rank, (count, width) = self.scales.shape[0], self.weights.shape
        shared = ops.load(self.shared)[:, :, :width].reshape(rank, width)
        rows: list[Array] = []
        for at in range(rank):
            weighted = ops.load(self.weights) * shared[at : at + 1]
            rows.append(weighted * ops.load(self.scales, at, at + 1).reshape(count, 1))
        return ops.concat(rows, 0)

    def rows(self, start: int, stop: int, ops: Ops) -> Array:
        return self.whole(ops)[start:stop]


def read(fields: Fields) -> Settings:
    """Read rank and scale; refuse a delta without its projections."""
    fields.ignore("init_weights", "projection_prng_key", "randlora_dropout", "sparse", "very_sparse")
    fields.refuse_unsaved_projection()
    return Settings(fields.integer("r", 32), fields.number("randlora_alpha", 640))


def effects(site: Site, settings: Settings) -> Iterable[Effect]:
    """Add the sum of products to the weight, with A on the smaller side."""
    (rank, count), (other, small) = sizes(site, "lambda"), sizes(site, "gamma")
    a, b = sizes(site, "projection_A", 3), sizes(site, "projection_B", 3)
    check_rank(site, (rank, a[0], b[2]), settings.r)
    n_out, n_in = layer(site)
    large = max(n_out, n_in)
    has_all = count == other == math.ceil(small / rank) and small == min(n_out, n_in)
    if not has_all or a[1] != 1 or a[2] < small or b[0] < large or b[1] < count:
        raise site.refuse("shape", f"its tensors are not for {n_in} -> {n_out}")
    tensors = site.tensors
    left = LargeFactor(tensors["projection_B"], large, count)
    right = SmallFactor(tensors["projection_A"], tensors["lambda"], tensors["gamma"])
    scale = settings.randlora_alpha / rank
    sides = (left, right) if small == n_in else (TransposedSide(right), TransposedSide(left))
    yield site.changes(low_rank(site, *sides, out_in=(n_out, n_in), scale=scale))


RANDLORA = PeftKind(
    "lora",
    "randlora",
    "RANDLORA",
    {
        ("randlora_lambda", ""): "lambda",
        ("randlora_gamma", ""): "gamma",
        ("randlora_A", ""): "projection_A",
        ("randlora_B", ""): "projection_B",
    },
    read,
    effects,
    shared={"randlora_A": "projection_A", "randlora_B": "projection_B"},
)
