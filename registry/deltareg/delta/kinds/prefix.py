"""Prefixes: keys and values that stand before those of every self-attention.

Prefix tuning (Li and Liang 2021, arXiv 2101.00190), whose projection peft runs before it saves, and
Cartridges (Eyuboglu et al. 2025, arXiv 2506.06266), which differ in training only. The real tokens
move by n positions.

With an encoder and a decoder only the decoder has a prefix, and peft deals its vectors out as if
each layer took four of them: layer i gets those of layer 2i mod L, and others are never read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from deltareg.delta.kind import BaseView, PrefixInsert
from deltareg.delta.layouts.peft.prompt_kind import PromptKind, PromptSizes, refuse_base, refuse_shape
from deltareg.delta.maths.formula import Array, Ops, Tensor
from deltareg.delta.sites.attention import KeyShape, key_shape, self_attentions, text_config


@dataclass(frozen=True, slots=True)
class LayerKeyValues:
    """Keys and values of one layer.

    Attributes:
        tensor: (n, 2·layers·heads·width): for every layer keys, then values.
        row: The layer.
        shape: Of one token's keys.
    """

    tensor: Tensor
    row: int
    shape: KeyShape

    def make(self, ops: Ops) -> tuple[Array, ...]:
        """Return keys and values, (n, heads, width) each."""
        count, heads, width = self.tensor.shape[0], self.shape.heads, self.shape.width
        size = heads * width
        flat, start = ops.load(self.tensor), 2 * self.row * size
        keys = flat[:, start : start + size]
        values = flat[:, start + size : start + 2 * size]
        return keys.reshape(count, heads, width), values.reshape(count, heads, width)


def inserts(sizes: PromptSizes, vectors: Tensor, base: BaseView) -> Sequence[PrefixInsert]:
    """Insert each layer's vectors before its keys and values."""
    paths, shape = _places(sizes, base)
    expected = (sizes.tokens, 2 * len(paths) * shape.heads * shape.width)
    if vectors.shape != expected:
        message = f"{len(paths)} layers have keys and values of {shape.heads}·{shape.width} numbers"
        raise refuse_shape(vectors, expected, message)
    step = sizes.stacks  # two stacks: every second layer's vectors, from the start again
    return [
        PrefixInsert(
            "attention",
            path,
            sizes.tokens,
            LayerKeyValues(vectors, step * layer % len(paths), shape),
            {vectors.name: "prefix"} if not layer else {},
        )
        for layer, path in enumerate(paths)
    ]


def _places(sizes: PromptSizes, base: BaseView) -> tuple[list[str], KeyShape]:
    """Find the base's attentions, and check the config against them."""
    paths, shape = self_attentions(base), key_shape(base)
    if not paths or shape is None:
        message = f"where keys and values of a {base.names.model_type or 'base'} go is not known here"
        raise refuse_base("unknown_kind", message, "ask for this type of base to be added")
    whole = shape.heads * shape.width
    layers, heads = sizes.layers or len(paths), sizes.heads or shape.heads
    if (layers, heads, sizes.width or whole) != (len(paths), shape.heads, whole):
        own = f"{len(paths)} layers with {shape.heads} heads of {shape.width}"
        declared = f"{layers} layers with {heads} heads, {sizes.width or whole} numbers in all"
        raise refuse_base("shape", f"the base has {own}, the config says {declared}", "check the base")
    if sizes.stacks == 2 and text_config(base).get("num_decoder_layers") not in {None, len(paths)}:
        raise refuse_base("unknown_kind", "encoder and decoder have different numbers of layers")
    return paths, shape


PREFIX_TUNING = PromptKind(
    "prefix", "", "PREFIX_TUNING", ("init_weights", "encoder_hidden_size", "prefix_projection"), inserts
)
CARTRIDGE = PromptKind("prefix", "cartridge", "CARTRIDGE", ("num_frozen_tokens",), inserts)
