"""GraLoRA: the layer cut into k x k blocks, each with a low-rank product of its own.

Block (a, b) of W gets alpha / r · B_ab A_ab, of rank r / k each (Jung et al. 2025, arXiv
2505.20355); with `hybrid_r` a plain LoRA of that rank comes on top, and the scale is
alpha / (r + hybrid_r).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from deltareg.delta.kind import Effect, WeightUpdate
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.sides import check_rank, is_flipped, low_rank, require, sizes
from deltareg.delta.maths.formula import Array, Ops, Tensor
from deltareg.delta.maths.updates import Factor

_GENERAL = ("general_A", "general_B")


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the config.

    Attributes:
        r: The rank of a row of blocks.
        alpha: The numerator of the scale.
        gralora_k: How many blocks there are each way.
        hybrid_r: The rank of the plain LoRA; 0 for none.
    """

    r: int
    alpha: float
    gralora_k: int
    hybrid_r: int

    @property
    def scale(self) -> float:
        """The factor on all products."""
        return self.alpha / (self.r + self.hybrid_r)


@dataclass(frozen=True, slots=True)
class BlockFactors:
    """The factors of each block of columns or rows, (k, r, width); r has k parts, one per block.

    Attributes:
        tensor: As stored.
        flipped: Whether its last two dimensions are swapped.
    """

    tensor: Tensor
    flipped: bool

    @property
    def width(self) -> int:
        """How many columns or rows of the weight a block has."""
        return self.tensor.shape[1] if self.flipped else self.tensor.shape[2]

    def load(self, ops: Ops) -> Array:
        """Return the factors as (k, r, width)."""
        values = ops.load(self.tensor)
        return ops.permute(values, 0, 2, 1) if self.flipped else values


@dataclass(frozen=True, slots=True)
class BlockProducts:
    """W with scale · first[a, part b].T @ second[b, part a] added to block (a, b).

    Attributes:
        first: Factors by block of rows.
        second: Factors by block of columns.
        scale: The factor on the products.
    """

    first: BlockFactors
    second: BlockFactors
    scale: float
    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        height, (k, rank, _) = self.first.width, self.first.load(ops).shape
        first, second, part = self.first.load(ops), self.second.load(ops), rank // k
        bands: list[Array] = []
        for a in range(start // height, -(-stop // height)):
            low, high = max(start - a * height, 0), min(stop - a * height, height)
            row = [_part(first, a, b, part)[:, low:high].T @ _part(second, b, a, part) for b in range(k)]
            bands.append(ops.concat(row, 1))
        return weight + ops.concat(bands, 0) * self.scale


def read(fields: Fields) -> Settings:
    """Read ranks, scale and blocks."""
    fields.ignore("gralora_dropout", "init_weights")
    settings = Settings(
        r=fields.integer("r", 32),
        alpha=fields.number("alpha", 64),
        gralora_k=fields.integer("gralora_k", 2),
        hybrid_r=fields.integer("hybrid_r", 0, least=0),
    )
    if settings.r % settings.gralora_k:
        fields.refuse("r", "is not a multiple of gralora_k")
    return settings


def effects(site: Site, settings: Settings) -> Iterable[Effect]:
    """Add the products of the blocks, and those of the plain LoRA if there is one."""
    k, (a, b) = settings.gralora_k, (sizes(site, role, 3) for role in ("gralora_A", "gralora_B"))
    check_rank(site, (a[2], b[1]), settings.r)
    if not a[0] == b[0] == k:
        message = f"it has {a[0]} and {b[0]} blocks, and gralora_k is {k}"
        raise site.refuse("shape", message)
    tensors, out_in = site.tensors, (k * b[2], k * a[1])
    inputs, outputs = (
        BlockFactors(tensors["gralora_A"], flipped=True),
        BlockFactors(tensors["gralora_B"], flipped=False),
    )
    sides = (inputs, outputs) if is_flipped(site, *out_in) else (outputs, inputs)
    general = {name: role for name, role in site.own.items() if role in _GENERAL}
    own = {name: role for name, role in site.own.items() if role not in _GENERAL}
    update = BlockProducts(*sides, settings.scale)
    yield WeightUpdate(site.target, update, own, site.reads)
    if settings.hybrid_r:
        yield _plain(site, settings, out_in, general)
    elif general:
        raise site.refuse("unexpected_tensors", "hybrid_r is not set", next(iter(general.values())))


def _plain(site: Site, settings: Settings, out_in: tuple[int, int], consumes: dict[str, str]) -> Effect:
    require(site, *_GENERAL)
    a, b = (sizes(site, role) for role in _GENERAL)
    check_rank(site, (a[0], b[1]), settings.hybrid_r)
    if (b[0], a[1]) != out_in:
        raise site.refuse("shape", f"the plain LoRA is not for {out_in[1]} -> {out_in[0]}")
    left, right = Factor(site.tensors["general_B"]), Factor(site.tensors["general_A"])
    update = low_rank(site, left, right, out_in=out_in, scale=settings.scale)
    return WeightUpdate(site.target, update, consumes, site.reads)


def _part(factors: Array, block: int, number: int, size: int) -> Array:
    part = factors[block : block + 1, number * size : (number + 1) * size]
    return part.reshape(size, part.shape[2])


GRALORA = PeftKind(
    "lora",
    "gralora",
    "GRALORA",
    {
        ("gralora_A", ""): "gralora_A",
        ("gralora_B", ""): "gralora_B",
        ("gralora_A_general", "weight"): "general_A",
        ("gralora_B_general", "weight"): "general_B",
    },
    read,
    effects,
    optional=frozenset(_GENERAL),
)
