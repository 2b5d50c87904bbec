"""OFT: the inputs of a layer are turned by a block-diagonal rotation.

W' = W Rᵀ, and E' = E R for an embedding (Qiu et al. 2023, arXiv 2306.07280; the Cayley-Neumann form
is from Qiu et al. 2025, arXiv 2506.19847). COFT keeps every rotation near none: Q is shortened to
length eps / √b where it is longer.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from deltareg.delta.kind import Effect
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.rotations import as_matrix, cayley, inputs_of, multiply_blocks, neumann, skew_blocks
from deltareg.delta.maths.formula import Array, Ops, Tensor
from deltareg.delta.traits import Traits

_NEUMANN_SINCE = (0, 18)


@dataclass(frozen=True, slots=True)
class Oft:
    """Settings of the config.

    Attributes:
        r: Number of blocks; 0 where the size is given.
        oft_block_size: Rows of a block; 0 where the number is given.
        use_cayley_neumann: Whether the rotation is approximated by a series.
        num_cayley_neumann_terms: Terms of the series.
        coft: Whether rotations are kept small.
        eps: How small.
        block_share: Whether one block serves all places.
    """

    r: int
    oft_block_size: int
    use_cayley_neumann: bool
    num_cayley_neumann_terms: int
    coft: bool
    eps: float
    block_share: bool

    def block_size(self, n_in: int) -> int:
        """Return the rows of a block, or the number of blocks if set, as the library adjusts it.

        A number that does not divide the inputs is replaced by the nearest that does; the smaller
        one wins a tie.
        """
        requested = self.oft_block_size or self.r
        if requested >= n_in:
            nearest = n_in
        else:
            divisors = (d for d in range(1, n_in + 1) if n_in % d == 0)
            nearest = min(divisors, key=lambda d: (abs(d - requested), d))
        return nearest if self.oft_block_size else n_in // nearest


@dataclass(frozen=True, slots=True)
class TurnedInputs:
    """W Rᵀ or, for an embedding, E R.

    Attributes:
        upper: The entries right of the diagonal of each Q.
        size: Rows of a block.
        settings: How R is made of Q.
        is_embedding: Whether the rows are output vectors and not weights of inputs.
    """

    upper: Tensor
    size: int
    settings: Oft
    is_embedding: bool
    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        blocks = self._rotation(ops)
        if not self.is_embedding:
            blocks = ops.permute(blocks, 0, 2, 1)
        return multiply_blocks(as_matrix(weight), blocks, ops).reshape(*weight.shape)

    def _rotation(self, ops: Ops) -> Array:
        skew = skew_blocks(ops.load(self.upper), self.size, ops)
        if self.settings.coft:
            skew = _shorten_blocks(skew, self.settings.eps, ops)
        if self.settings.use_cayley_neumann:
            return neumann(skew, self.settings.num_cayley_neumann_terms, ops)
        return cayley(skew, ops)


def _shorten_blocks(skew: Array, eps: float, ops: Ops) -> Array:
    """Scale every block that is longer than the limit down to it; leave the others alone."""
    count, size, _ = skew.shape
    limit = eps / math.sqrt(count)
    lengths = ops.row_norms(skew.reshape(count, size * size))
    longest = ops.apply("relu", lengths - limit) + limit  # the larger of the two
    return skew * ((ops.zeros(count, 1) + limit) / longest).reshape(count, 1, 1)


def read(fields: Fields) -> Oft:
    """Read how rotations are made."""
    fields.ignore("module_dropout", "init_weights")
    settings = Oft(
        r=fields.integer("r", 0, least=0),
        oft_block_size=fields.integer("oft_block_size", 32, least=0),
        use_cayley_neumann=fields.flag("use_cayley_neumann", default=True),
        num_cayley_neumann_terms=fields.integer("num_cayley_neumann_terms", 5),
        coft=fields.flag("coft"),
        eps=fields.number("eps", 6e-5),
        block_share=fields.flag("block_share"),
    )
    if fields.value("oft_block_size") is None:
        fields.refuse("oft_block_size", "is missing: older releases meant other tensors by OFT")
    elif (settings.r != 0) == (settings.oft_block_size != 0):
        fields.refuse("oft_block_size", "and r cannot both be given, nor both be zero")
    if settings.coft and settings.eps <= 0:
        fields.refuse("eps", "is not above zero")
    if settings.use_cayley_neumann and _is_older(fields.value("peft_version")):
        fields.refuse("use_cayley_neumann", "meant another series before peft 0.18")
    return settings


def effects(site: Site, settings: Oft) -> Iterable[Effect]:
    """Rotate the inputs of a layer, or the rows of an embedding."""
    n_in = inputs_of(site)
    is_embedding = "oft_embedding_R" in site.tensors
    upper = site.tensors["oft_embedding_R" if is_embedding else "oft_R"]
    size = settings.block_size(n_in)
    count = 1 if settings.block_share else n_in // size
    if len(site.own) > 1:
        raise site.refuse("unexpected_tensors", "it has a rotation of a layer and of an embedding")
    if len(site.shape) > 2 and math.prod(site.shape[2:]) != 1:
        raise site.refuse(
            "not_self_contained",
            f"{site.target} is a kernel {list(site.shape)}: for kernels wider than one the library"
            " sums overlapping patches while it trains and does not when it merges",
            fix="turn only linear layers and convolutions of width one",
        )
    if upper.shape != (count, size * (size - 1) // 2):
        message = f"{list(upper.shape)} are not {count} rotations of {size} for {n_in} inputs"
        raise site.refuse("shape", message)
    yield site.changes(TurnedInputs(upper, size, settings, is_embedding))


def _is_older(version: object) -> bool:
    """Whether a release may lack the present series; one without a number counts as old."""
    parts = str(version or "0.0").partition("@")[0].split(".")[:2]
    numbers = tuple(int(part) if part.isdecimal() else 0 for part in parts)
    return numbers < _NEUMANN_SINCE


OFT = PeftKind(
    "multiplicative",
    "oft",
    "OFT",
    {("oft_R", "weight"): "oft_R", ("oft_embedding_R", "weight"): "oft_embedding_R"},
    read,
    effects,
    optional=frozenset({"oft_R", "oft_embedding_R"}),
    usual=Traits(turns=True),
)
