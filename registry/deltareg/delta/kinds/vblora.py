"""VB-LoRA: both factors put together from pieces of one bank of vectors.

Every piece is a mixture of the k vectors with the largest logits, weighted by their softmax (Li et
al. 2024, arXiv 2405.15179). A delta may also hold only these weights (the last
one is what they lack of 1) and the vectors' numbers (`save_only_topk_weights`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from deltareg.delta.kind import Effect
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.sides import low_rank, require, sizes
from deltareg.delta.maths.formula import Array, Integers, Ops, Tensor

_LOGITS = ("vblora_logits_A", "vblora_logits_B")
_ROLES = (*_LOGITS, *(f"{name}_topk_{what}" for name in _LOGITS for what in ("indices", "weights")))


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the config.

    Attributes:
        r: The rank.
        topk: How many vectors are mixed.
        num_vectors: How many vectors the bank has.
        vector_length: How long they are.
        save_only_topk_weights: Whether logits are left out.
    """

    r: int
    topk: int
    num_vectors: int
    vector_length: int
    save_only_topk_weights: bool


@dataclass(frozen=True, slots=True)
class VectorMixtures:
    """A grid of mixtures (n, m, vector_length).

    Attributes:
        bank: The vectors (num_vectors, vector_length).
        mixed: Logits (n, m, num_vectors), or weights (n, m, topk - 1).
        numbers: Which vectors the weights are for (n, m, topk); None with logits.
        topk: How many vectors are mixed.
    """

    bank: Tensor
    mixed: Tensor
    numbers: Tensor | None
    topk: int

    def rows(self, start: int, stop: int, ops: Ops) -> Array:
        """Return the mixtures of rows `start:stop` of the grid."""
        weights, numbers = self._weights(start, stop, ops)
        n, m, _ = weights.shape
        width = self.bank.shape[1]
        vectors = ops.take(ops.load(self.bank), numbers.reshape(-1), 0)
        parts = (vectors * weights.reshape(-1, 1)).reshape(n * m, self.topk, width)
        return ops.total(parts, 1).reshape(n, m, width)

    def _weights(self, start: int, stop: int, ops: Ops) -> tuple[Array, Integers]:
        mixtures = ops.load(self.mixed, start, stop)
        if self.numbers is None:
            logits, numbers = ops.top(mixtures, self.topk)
            return ops.softmax(logits), numbers
        ones = ops.zeros(*mixtures.shape[:2], 1) + 1.0
        last = ones - ops.total(mixtures, 2) if self.topk > 1 else ones
        return ops.concat([mixtures, last], 2), ops.integers(self.numbers)[start:stop]


@dataclass(frozen=True, slots=True)
class InnerFactor:
    """A (r, n_in): pieces (r, tiles) side by side."""

    pieces: VectorMixtures

    def whole(self, ops: Ops) -> Array:
        return self.rows(0, self.pieces.mixed.shape[0], ops)

    def rows(self, start: int, stop: int, ops: Ops) -> Array:
        return self.pieces.rows(start, stop, ops).reshape(stop - start, -1)


@dataclass(frozen=True, slots=True)
class OuterFactor:
    """B (n_out, r): pieces (tiles, r), each of which is a part of a column."""

    pieces: VectorMixtures

    def whole(self, ops: Ops) -> Array:
        return self._tiles(0, self.pieces.mixed.shape[0], ops)

    def rows(self, start: int, stop: int, ops: Ops) -> Array:
        width = self.pieces.bank.shape[1]
        first = start // width
        tiles = self._tiles(first, -(-stop // width), ops)
        return tiles[start - first * width : stop - first * width]

    def _tiles(self, first: int, last: int, ops: Ops) -> Array:
        tiles = self.pieces.rows(first, last, ops)
        return ops.permute(tiles, 0, 2, 1).reshape(-1, tiles.shape[1])


def read(fields: Fields) -> Settings:
    """Read sizes and layout."""
    fields.ignore("init_logits_std", "init_vector_bank_bound", "vblora_dropout")
    return Settings(
        r=fields.integer("r", 4),
        topk=fields.integer("topk", 2),
        num_vectors=fields.integer("num_vectors", 256),
        vector_length=fields.integer("vector_length", 256),
        save_only_topk_weights=fields.flag("save_only_topk_weights"),
    )


def effects(site: Site, settings: Settings) -> Iterable[Effect]:
    """Add the product of the two factors to the weight."""
    bank = sizes(site, "bank")
    if bank != (settings.num_vectors, settings.vector_length):
        message = f"{list(bank)} is not the bank of {settings.num_vectors} x {settings.vector_length}"
        raise site.refuse("shape", message, "bank")
    inner, outer = (_pieces(site, name, settings) for name in _LOGITS)
    (rank, tiles_in), (tiles_out, other) = inner.mixed.shape[:2], outer.mixed.shape[:2]
    if not rank == other == settings.r:
        message = f"its pieces are {rank} and {other} high, and the config says r is {settings.r}"
        raise site.refuse("rank", message, fix="the config must be the one that was trained with")
    out_in = (tiles_out * settings.vector_length, tiles_in * settings.vector_length)
    yield site.changes(low_rank(site, OuterFactor(outer), InnerFactor(inner), out_in=out_in, scale=1.0))


def _pieces(site: Site, name: str, settings: Settings) -> VectorMixtures:
    topk_names = (f"{name}_topk_indices", f"{name}_topk_weights")
    needed, other = (topk_names, (name,)) if settings.save_only_topk_weights else ((name,), topk_names)
    require(site, *needed)
    extra = [role for role in other if role in site.tensors]
    if extra:
        raise site.refuse("unexpected_tensors", "save_only_topk_weights says otherwise", extra[0])
    bank, topk = site.tensors["bank"], settings.topk
    if not settings.save_only_topk_weights:
        if sizes(site, name, 3)[2] != settings.num_vectors or topk > settings.num_vectors:
            raise site.refuse("shape", f"it is not for {settings.num_vectors} vectors", name)
        return VectorMixtures(bank, site.tensors[name], None, topk)
    numbers, weights = sizes(site, topk_names[0], 3), sizes(site, topk_names[1], 3)
    if weights != (*numbers[:2], topk - 1) or numbers[2] != topk:
        raise site.refuse("shape", f"it is not for the {topk} largest", topk_names[1])
    return VectorMixtures(bank, site.tensors[topk_names[1]], site.tensors[topk_names[0]], topk)


VBLORA = PeftKind(
    "lora",
    "vblora",
    "VBLORA",
    {(role, ""): role for role in _ROLES},
    read,
    effects,
    shared={"vblora_vector_bank": "bank"},
    optional=frozenset(_ROLES),
)
