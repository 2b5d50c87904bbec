"""MiSS: one small block of numbers for all blocks of a weight.

By default every run of r columns gets the same values, W'[o, q] = W[o, q] + D[q mod r, o] (Kang &
Yin 2024, arXiv 2409.15371). `mini` also repeats them over the outputs. `bat` multiplies: with W cut
into blocks of r x r, W'_ab = W_ab + W_ab D_a + D_a.

Until 0.18 peft called it Bone, with names of its own and without `mini`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from deltareg.delta.kind import Effect
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.sides import check_rank, plain_layer, sizes
from deltareg.delta.maths.formula import Array, Ops, Tensor
from deltareg.delta.maths.updates import LowRank
from deltareg.delta.older_reading import OlderReading


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the config.

    Attributes:
        r: The size of a block of inputs.
        mini_r: The size of a block of outputs, for `mini`.
        init_weights: `mini`, `bat` or empty: selects the formula.
    """

    r: int
    mini_r: int
    init_weights: str


@dataclass(frozen=True, slots=True)
class RepeatedBlock:
    """The transpose of a block (r, width), its rows repeated to a height."""

    block: Tensor
    height: int

    def whole(self, ops: Ops) -> Array:
        return self.rows(0, self.height, ops)

    def rows(self, start: int, stop: int, ops: Ops) -> Array:
        numbers = np.arange(start, stop) % self.block.shape[1]
        return ops.take(ops.load(self.block).T, numbers, 0)


@dataclass(frozen=True, slots=True)
class Identities:
    """Identity matrices of size r next to each other (r, width); the last one may be cut."""

    r: int
    width: int

    def whole(self, ops: Ops) -> Array:
        return ops.take(ops.identity(self.r), np.arange(self.width) % self.r, 1)

    def rows(self, start: int, stop: int, ops: Ops) -> Array:
        return self.whole(ops)[start:stop]


@dataclass(frozen=True, slots=True)
class BlockTransform:
    """W with W_ab D_a + D_a added to every block (a, b) of r x r.

    Attributes:
        blocks: D (n_out / r, r, r).
    """

    blocks: Tensor
    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        r, width = self.blocks.shape[1], weight.shape[1]
        bands: list[Array] = []
        for a in range(start // r, -(-stop // r)):
            low, high = max(a * r, start), min((a + 1) * r, stop)
            block = ops.load(self.blocks, a, a + 1).reshape(r, r)
            turned = weight[low - start : high - start].reshape(-1, r) @ block
            added = ops.concat([block[low - a * r : high - a * r]] * (width // r), 1)
            bands.append(turned.reshape(high - low, width) + added)
        return weight + ops.concat(bands, 0)


def read(fields: Fields) -> Settings:
    """Read sizes and formula; here `init_weights` selects the formula, not how training began."""
    fields.ignore("miss_dropout")
    init = fields.value("init_weights")
    if init is not None and not isinstance(init, bool) and init not in ("bat", "mini"):
        fields.refuse("init_weights", "is not a formula that is known here")
    formula = init if isinstance(init, str) else ""
    return Settings(fields.integer("r", 64), fields.integer("mini_r", 1), formula)


def effects(site: Site, settings: Settings) -> Iterable[Effect]:
    """Add the block, expanded by the formula, to the weight."""
    n_out, n_in = site.out_in()
    plain_layer(site, n_out, n_in)
    if len(site.shape) != 2:
        raise site.refuse("shape", f"{site.target} {list(site.shape)} is no matrix")
    if settings.init_weights == "bat":
        yield site.changes(_bat(site, settings.r, n_out, n_in))
        return
    r, width = sizes(site, "block")
    check_rank(site, (r,), settings.r)
    if width != (settings.mini_r if settings.init_weights else n_out) or n_out % width or r > n_in:
        raise site.refuse("shape", f"{[r, width]} is no block of {n_in} -> {n_out}", "block")
    block = site.tensors["block"]
    yield site.changes(LowRank(RepeatedBlock(block, n_out), Identities(r, n_in), 1.0))


def _bat(site: Site, r: int, n_out: int, n_in: int) -> BlockTransform:
    count, height, width = sizes(site, "block", 3)
    check_rank(site, (height, width), r)
    if count * r != n_out or n_in % r:
        raise site.refuse("shape", f"{count} blocks of {r} do not fit {n_in} -> {n_out}", "block")
    return BlockTransform(site.tensors["block"])


MISS = PeftKind("lora", "miss", "MISS", {("miss_block", ""): "block"}, read, effects, bias_words=("MiSS",))


def read_bone(fields: Fields) -> Settings:
    """Read size and formula of a Bone."""
    init = fields.value("init_weights")
    if init is not None and not isinstance(init, bool) and init != "bat":
        fields.refuse("init_weights", "is not a formula that is known here")
    return Settings(fields.integer("r", 64), 1, "bat" if init == "bat" else "")


def find_older_bone(_: Fields) -> OlderReading:
    """Say which releases load a Bone."""
    return OlderReading("peft 0.18 or earlier", "today's has it as MiSS, under other names")


BONE = PeftKind(
    "lora",
    "bone",
    "BONE",
    {("bone_block", ""): "block"},
    read_bone,
    effects,
    bias_words=("Bone",),
    older=find_older_bone,
)
