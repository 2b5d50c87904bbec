"""OFT: the inputs of a layer are turned by a block-diagonal rotation.

W' = W Rᵀ, and E' = E R for an embedding (Qiu et al. 2023, arXiv 2306.07280; the Cayley-Neumann form
is from Qiu et al. 2025, arXiv 2506.19847). COFT keeps every rotation near none: Q is shortened to
length eps / √b where it is longer.

The library changed it twice: until 0.15 the blocks were stored whole (`layouts.peft.square_rotations`),
and in 0.16 and 0.17 the last term of the series counted twice.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields

from deltareg.delta.kind import Effect
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.releases import is_before
from deltareg.delta.layouts.peft.rotations import (
    as_matrix,
    cayley,
    divide_inputs,
    inputs_of,
    multiply_blocks,
    neumann,
    shorten_blocks,
    skew_blocks,
)
from deltareg.delta.layouts.peft.square_rotations import BLOCKS, FACTORS, SquareOft, read_square, turn_by_squares
from deltareg.delta.maths.formula import Array, Ops, Tensor
from deltareg.delta.older_reading import OlderReading
from deltareg.delta.traits import Traits

_SIZE, _SERIES = "oft_block_size", "use_cayley_neumann"
_HALVED_SINCE = (0, 18)


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


@dataclass(frozen=True, slots=True)
class WholeSeriesOft(Oft):
    """Settings of peft 0.16 and 0.17, whose series has a factor of two at its last term as well."""


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
        settings = self.settings
        if settings.coft:
            skew = shorten_blocks(skew, settings.eps / math.sqrt(skew.shape[0]), ops)
        if settings.use_cayley_neumann:
            is_whole = isinstance(settings, WholeSeriesOft)
            return neumann(skew, settings.num_cayley_neumann_terms, ops, is_last_whole=is_whole)
        return cayley(skew, ops)


def read(fields: Fields) -> Oft | SquareOft:
    """Read how rotations are made, by the formula of the release that wrote the config."""
    fields.ignore("module_dropout", "init_weights")
    turns = _turns(fields)
    settings = read_square(fields, turns) if turns else _read_triangles(fields)
    if (turns != "outputs" and (settings.r != 0) == (settings.oft_block_size != 0)) or not any(
        (settings.r, settings.oft_block_size)
    ):
        fields.refuse("oft_block_size", "and r cannot both be given, nor both be zero")
    if settings.coft and settings.eps <= 0:
        fields.refuse("eps", "is not above zero")
    return settings


def find_older(fields: Fields) -> OlderReading | None:
    """Find out which release turned otherwise than today's."""
    match read(fields):
        case SquareOft(turns="outputs"):
            return OlderReading("peft 0.13 or earlier", "it turns outputs, and today's peft does not load it")
        case SquareOft():
            return OlderReading("peft 0.14 or 0.15", "it stores blocks whole, and today's peft does not load it")
        case WholeSeriesOft(num_cayley_neumann_terms=terms) if terms > 2:
            return OlderReading("peft 0.16 or 0.17", "today's peft takes half of the last term of its series")
        case _:
            return None


def _turns(fields: Fields) -> str:
    """Return what the releases turned that stored blocks whole; empty for a later release.

    A config without the field that the next release brought says so, if it is one that a release wrote.
    """
    if is_before(fields, _SIZE, (0, 14)):
        return "outputs"
    return "inputs" if is_before(fields, _SERIES, (0, 16)) else ""


def _read_triangles(fields: Fields) -> Oft:
    settings = Oft(
        r=fields.integer("r", 0, least=0),
        oft_block_size=fields.integer(_SIZE, 32, least=0),
        use_cayley_neumann=fields.flag(_SERIES, default=True),
        num_cayley_neumann_terms=fields.integer("num_cayley_neumann_terms", 5),
        coft=fields.flag("coft"),
        eps=fields.number("eps", 6e-5),
        block_share=fields.flag("block_share"),
    )
    if fields.value(_SIZE) is None:
        fields.refuse(_SIZE, "is missing: releases meant other tensors by OFT, and nothing says which wrote it")
    if not settings.use_cayley_neumann or (fields.version or (0, 0)) >= _HALVED_SINCE:
        return settings
    if fields.version is None and not is_before(fields, "peft_version", _HALVED_SINCE):
        fields.refuse(_SERIES, "meant another series before peft 0.18, and nothing says which release wrote it")
    return WholeSeriesOft(**{f.name: getattr(settings, f.name) for f in dataclass_fields(settings)})


def effects(site: Site, settings: Oft | SquareOft) -> Iterable[Effect]:
    """Rotate the inputs of a layer, or the rows of an embedding; the outputs, as long ago."""
    if isinstance(settings, SquareOft):
        yield turn_by_squares(site, settings)
        return
    if site.tensors.keys() & {BLOCKS, FACTORS}:
        raise site.refuse("kind_mismatch", "its blocks are stored whole, and its config is of a later release")
    n_in = inputs_of(site)
    is_embedding = "oft_embedding_R" in site.tensors
    upper = site.tensors["oft_embedding_R" if is_embedding else "oft_R"]
    size = divide_inputs(n_in, settings.oft_block_size, settings.r)
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


OFT = PeftKind(
    "multiplicative",
    "oft",
    "OFT",
    {
        ("oft_R", "weight"): "oft_R",
        ("oft_embedding_R", "weight"): "oft_embedding_R",
        (BLOCKS, ""): BLOCKS,
        (FACTORS, ""): FACTORS,
    },
    read,
    effects,
    optional=frozenset({"oft_R", "oft_embedding_R", BLOCKS, FACTORS}),
    usual=Traits(turns=True),
    older=find_older,
)
