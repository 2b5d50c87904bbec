"""OFT as peft stored it before 0.16: whole blocks, of which the skew-symmetric half counts.

Until 0.13 a layer's outputs were turned, W' = Dᵀ W, with D cut to the outputs where the number of blocks does
not divide them (Qiu et al. 2023, arXiv 2306.07280, and `peft.tuners.oft.layer` of 0.13). In 0.14 and 0.15 its
inputs were, and every output got a factor: W' = s ∘ (W Mᵀ). D and M are block-diagonal, of Cayley transforms.
"""

import math
from dataclasses import dataclass, field

from deltareg.delta.kind import WeightUpdate
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import Site
from deltareg.delta.layouts.peft.rotations import (
    as_matrix,
    cayley,
    divide_inputs,
    inputs_of,
    multiply_blocks,
    shorten_blocks,
    skew_of,
)
from deltareg.delta.layouts.peft.suffixes import ModuleNumbers
from deltareg.delta.layouts.peft.targets import read_numbers
from deltareg.delta.maths.formula import Array, Ops, Tensor

BLOCKS, FACTORS = "oft_r", "oft_s"


@dataclass(frozen=True, slots=True)
class SquareOft:
    """Settings of a config of these releases.

    Attributes:
        turns: `outputs` until 0.13, `inputs` since.
        r: Number of blocks; 0 where the size is given.
        oft_block_size: Rows of a block; 0 where the number is given.
        coft: Whether rotations are kept small.
        eps: How small.
        block_share: Whether one block serves all places.
        ranks: Numbers of blocks of single modules.
    """

    turns: str
    r: int
    oft_block_size: int
    coft: bool
    eps: float
    block_share: bool
    ranks: ModuleNumbers = field(default_factory=ModuleNumbers)


@dataclass(frozen=True, slots=True)
class SquareBlocks:
    """Rotations from whole blocks.

    Attributes:
        stored: (b, s, s).
        limit: The length that a block may have; zero for any.
    """

    stored: Tensor
    limit: float

    def make(self, ops: Ops) -> Array:
        """Return the rotations (b, s, s)."""
        blocks = ops.load(self.stored)
        if self.limit:
            blocks = shorten_blocks(blocks, self.limit, ops)
        return cayley(skew_of(blocks, ops), ops)


@dataclass(frozen=True, slots=True)
class SquareRotations:
    """Dᵀ W, with D cut to the weight's rows.

    Attributes:
        blocks: The rotations.
        width: Rows of D before the cut.
    """

    blocks: SquareBlocks
    width: int
    needs_whole = True
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        """See `deltareg.delta.maths.formula.Update`."""
        matrix = as_matrix(weight)
        height, columns = matrix.shape
        padded = ops.concat([matrix, ops.zeros(self.width - height, columns)], 0) if self.width > height else matrix
        turned = multiply_blocks(padded.T, self.blocks.make(ops), ops).T
        return turned[:height].reshape(*weight.shape)


@dataclass(frozen=True, slots=True)
class ScaledTurnedInputs:
    """s ∘ (W Mᵀ).

    Attributes:
        blocks: The rotations.
        factors: (n_out, 1).
    """

    blocks: SquareBlocks
    factors: Tensor
    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        """See `deltareg.delta.maths.formula.Update`."""
        blocks = ops.permute(self.blocks.make(ops), 0, 2, 1)
        turned = multiply_blocks(as_matrix(weight), blocks, ops)
        return (turned * ops.load(self.factors, start, stop)).reshape(*weight.shape)


def read_square(fields: Fields, turns: str) -> SquareOft:
    """Read the settings of such a config."""
    fields.ignore("alpha_pattern")  # a field of the family that OFT never used
    return SquareOft(
        turns,
        r=fields.integer("r", 8, least=0),
        oft_block_size=fields.integer("oft_block_size", 0, least=0),
        coft=fields.flag("coft"),
        eps=fields.number("eps", 6e-5),
        block_share=fields.flag("block_share"),
        ranks=read_numbers(fields, "rank_pattern", whole=True),
    )


def turn_by_squares(site: Site, settings: SquareOft) -> WeightUpdate:
    """Turn a layer's outputs, or its inputs.

    Raises:
        Refused: The tensors are not those of the config, or the layer is none that these releases turned.
    """
    n_in, n_out = inputs_of(site), site.shape[0]
    stored, factors = site.tensors.get(BLOCKS), site.tensors.get(FACTORS)
    if stored is None or (factors is None) == (settings.turns == "inputs"):
        raise site.refuse("kind_mismatch", f"its tensors are not those of an OFT that turns {settings.turns}")
    if settings.turns == "outputs":
        count = int(settings.ranks.of(site.module, settings.r))
        size = -(-n_out // count)
    else:
        size = divide_inputs(n_in, settings.oft_block_size, settings.r)
        count = n_in // size
    kept = 1 if settings.block_share else count
    if stored.shape != (kept, size, size):
        raise site.refuse("shape", f"{list(stored.shape)} are not {kept} blocks of {size}", BLOCKS)
    limit = settings.eps * math.ceil(n_out / count) ** 2 / math.sqrt(kept) if settings.coft else 0.0
    blocks = SquareBlocks(stored, limit)
    if factors is None:
        return site.changes(SquareRotations(blocks, count * size))
    if math.prod(site.shape[2:]) != 1:
        message = f"{site.target} is a kernel {list(site.shape)}, which peft 0.14 ran without its dilation"
        raise site.refuse("not_self_contained", message, fix="merge it with that release, and push the whole model")
    if factors.shape != (n_out, 1):
        raise site.refuse("shape", f"{list(factors.shape)} is no factor for each of {n_out} outputs", FACTORS)
    return site.changes(ScaledTurnedInputs(blocks, factors))
