"""BOFT: the inputs of a layer are turned by a product of sparse rotations, a butterfly.

W' = s ∘ W Mᵀ with M = M_m … M_1 M_0 and M_i = P_i B_i P_iᵀ, where B_i is block-diagonal, P_i puts
inputs that lie far apart into one block, and s scales outputs (Liu et al. 2023, arXiv 2311.06243).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from deltareg.delta.kind import Effect
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.rotations import as_matrix, cayley, inputs_of, multiply_blocks
from deltareg.delta.maths.formula import Array, Integers, Ops, Tensor
from deltareg.delta.traits import Traits


@dataclass(frozen=True, slots=True)
class Boft:
    """Settings of the config.

    Attributes:
        boft_block_size: Rows of a block; 0 where the number is given.
        boft_block_num: Number of blocks; 0 where the size is given.
        boft_n_butterfly_factor: How many sparse rotations the config asks for. The library makes
            just one if its extension cannot be built, so the tensors decide.
    """

    boft_block_size: int
    boft_block_num: int
    boft_n_butterfly_factor: int


@dataclass(frozen=True, slots=True)
class Butterfly:
    """s ∘ W Mᵀ.

    Attributes:
        blocks: (m, b, h, h), of which the skew-symmetric part counts.
        scale: s, one number for each output.
    """

    blocks: Tensor
    scale: Tensor
    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        factors, count, size, _ = self.blocks.shape
        matrix, blocks = as_matrix(weight), ops.load(self.blocks)
        for at in range(factors):
            own = blocks[at : at + 1].reshape(count, size, size)
            rotation = cayley((own - ops.permute(own, 0, 2, 1)) * 0.5, ops)
            order = compute_input_order(at, factors, count, size)
            matrix = ops.take(matrix, np.argsort(order), 1)
            matrix = multiply_blocks(matrix, ops.permute(rotation, 0, 2, 1), ops)
            matrix = ops.take(matrix, order, 1)
        scale = ops.load(self.scale).reshape(-1, 1)
        return (matrix * scale[start:stop]).reshape(*weight.shape)


def compute_input_order(at: int, factors: int, count: int, size: int) -> Integers:
    """Return, for every input of a sparse rotation, its source position within the block.

    Within runs of 2ⁱ blocks, half-blocks with even numbers come first, those with odd ones after.

    Args:
        at: Which rotation, i.
        factors: How many there are; a single one leaves the inputs in place.
        count: Blocks of one rotation.
        size: Rows of a block.
    """
    places = np.arange(count * size, dtype=np.int64)
    if factors == 1:
        return places
    halves = places.reshape(count >> at, 2 << at, size // 2)
    return np.concatenate([halves[:, 0::2], halves[:, 1::2]], axis=1).reshape(-1)


def read(fields: Fields) -> Boft:
    """Read how the blocks are cut."""
    fields.ignore("boft_dropout", "init_weights")
    settings = Boft(
        boft_block_size=fields.integer("boft_block_size", 4, least=0),
        boft_block_num=fields.integer("boft_block_num", 0, least=0),
        boft_n_butterfly_factor=fields.integer("boft_n_butterfly_factor", 1),
    )
    if (settings.boft_block_size != 0) == (settings.boft_block_num != 0):
        fields.refuse("boft_block_size", "and boft_block_num cannot both be given, nor be zero")
    return settings


def effects(site: Site, settings: Boft) -> Iterable[Effect]:
    """Rotate the inputs of a layer and scale its outputs; the bias stays as it is."""
    n_in, blocks, scale = inputs_of(site), site.tensors["boft_R"], site.tensors["boft_s"]
    count = settings.boft_block_num or n_in // settings.boft_block_size
    size = settings.boft_block_size or n_in // settings.boft_block_num
    factors = blocks.shape[0] if blocks.shape else 0
    if blocks.shape != (factors, count, size, size) or count * size != n_in:
        message = f"{list(blocks.shape)} are not {count} rotations of {size} for {n_in} inputs"
        raise site.refuse("shape", message, "boft_R")
    if factors not in {1, settings.boft_n_butterfly_factor}:
        message = f"it has {factors} sparse rotations, and the config says"
        raise site.refuse("shape", f"{message} {settings.boft_n_butterfly_factor}", "boft_R")
    if factors > 1 and (size % 2 or count % (1 << (factors - 1))):
        message = f"{count} blocks of {size} make no butterfly of {factors} sparse rotations"
        raise site.refuse("shape", message, "boft_R")
    n_out = site.shape[0]
    if scale.shape not in {(n_out, 1), (1, n_out)}:
        raise site.refuse("shape", f"{list(scale.shape)} is no factor for {n_out} outputs", "boft_s")
    yield site.changes(Butterfly(blocks, scale))


BOFT = PeftKind(
    "multiplicative",
    "boft",
    "BOFT",
    {("boft_R", ""): "boft_R", ("boft_s", ""): "boft_s"},
    read,
    effects,
    usual=Traits(turns=True),
)
