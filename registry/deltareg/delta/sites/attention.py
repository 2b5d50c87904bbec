"""The self-attentions of a base that get a prefix of keys and values, one for each layer.

If the base's type has a file here, they are in it. For any other type the names of its weights show
them: an attention is a module that holds the projection of the keys, alone or fused with others.
That works only if every layer has exactly one; nothing is guessed otherwise.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import cast

from deltareg.delta.kind import BaseView
from deltareg.delta.sites.sites import sites_of

# The last part of a module's name that says it makes keys, by itself or with queries and values.
_MAKES_KEYS = frozenset(
    {
        "k_proj",
        "key",
        "k",
        "c_attn",
        "query_key_value",
        "qkv_proj",
        "Wqkv",
        "W_pack",
        "qkv",
        "key_proj",
        "in_proj",
        "attn_qkv",
    }
)
_ACROSS_STACKS = frozenset({"EncDecAttention", "encoder_attn", "crossattention", "cross_attn"})
_ALL_HEADS = ("num_attention_heads", "n_head", "num_heads", "decoder_attention_heads")
_HEADS = ("num_key_value_heads", *_ALL_HEADS)
# Of bases whose layers have keys of different shapes, of all heads at once, or in chunks of text.
_UNEVEN = (
    "attention_chunk_size",
    "global_head_dim",
    "kv_lora_rank",
    "multi_query",
    "num_kv_shared_layers",
    "per_layer_config",
)
_WIDTHS = ("hidden_size", "n_embd", "d_model")


@dataclass(frozen=True, slots=True)
class KeyShape:
    """The keys of one token in one layer.

    Attributes:
        heads: How many heads keys have.
        width: Of one head.
    """

    heads: int
    width: int


def text_config(base: BaseView) -> dict[str, object]:
    """Return the part of a base's config that describes its language model."""
    inner = base.config.get("text_config")
    return dict(cast("dict[str, object]", inner) if isinstance(inner, dict) else base.config)


def key_shape(base: BaseView) -> KeyShape | None:
    """Return the shape of a base's keys by its config; None if it differs between layers."""
    config = text_config(base)
    if any(config.get(name) for name in _UNEVEN):
        return None
    heads, all_heads = _first(config, _HEADS), _first(config, _ALL_HEADS)
    hidden = _first(config, _WIDTHS)
    width = _first(config, ("head_dim", "d_kv")) or (hidden // all_heads if all_heads else 0)
    return KeyShape(heads, width) if heads and width else None


def self_attentions(base: BaseView) -> list[str]:
    """Return the self-attention of every layer that generates text, by in-memory path, in order.

    With an encoder and a decoder, the decoder's. Empty if they cannot be determined.
    """
    sites = sites_of(base)
    if sites is None:
        return _by_names(base)
    stacks = {layer.stack for layer in sites.layers}
    stack = next((name for name in ("decoder", "encoder") if name in stacks), "")
    parts = [layer.parts.get("attention") for layer in sites.stack(stack)]
    paths = [part.attention for part in parts if part is not None and part.attention]
    return paths if len(paths) == len(parts) else []


def _by_names(base: BaseView) -> list[str]:
    lists: dict[str, dict[int, str]] = defaultdict(dict)
    for name in base.tensors:
        path, _, parameter = (base.names.memory(name) or "").rpartition(".")
        attention, _, projection = path.rpartition(".")
        if parameter == "weight" and projection in _MAKES_KEYS and _is_asked(attention, base):
            number = next((part for part in attention.split(".") if part.isdecimal()), "")
            template = attention.replace(f".{number}.", ".N.", 1)
            lists[template][int(number or -1)] = attention
    if len(lists) != 1:
        return []
    by_number = next(iter(lists.values()))
    return [by_number[n] for n in range(len(by_number))] if by_number.keys() == set(range(len(by_number))) else []


def _is_asked(attention: str, base: BaseView) -> bool:
    """Whether an attention lies in the one stack, or in the decoder if there are two."""
    parts = frozenset(attention.split("."))
    is_double = base.config.get("is_encoder_decoder") is True
    return not parts & _ACROSS_STACKS and (not is_double or "decoder" in parts)


def _first(config: dict[str, object], names: tuple[str, ...]) -> int:
    """Return the first of some fields that is a count; zero if none is."""
    values = (config.get(name) for name in names)
    return next((v for v in values if isinstance(v, int) and v > 0), 0)
