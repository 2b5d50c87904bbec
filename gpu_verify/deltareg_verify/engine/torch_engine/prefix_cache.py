"""Prefixes for decoders: a cache that is not empty at the start.

To a decoder, a prefix that moves the tokens by its length is like earlier tokens, and the cache is
where it keeps those. Positions, biases, windows and masks are then the network's own business,
whatever its attention looks like.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel

from deltareg.errors import Inconclusive

Keywords = dict[str, object]
CACHE_NAMES = ("cache", "past_key_values")
_NUMBERS = ("layer_idx", "layer_id", "layer_number")


@dataclass(frozen=True, slots=True)
class LayerPrefill:
    """The initial content of a layer's cache.

    Attributes:
        keys: (heads, n, width).
        values: (heads, n, width).
        fired: Called whenever the layer takes it.
    """

    keys: torch.Tensor
    values: torch.Tensor
    fired: Callable[[], None]


Fillings = Mapping[int, Sequence[LayerPrefill]]


class PrefilledCache(DynamicCache):
    """A cache that reports when a layer uses its initial content."""

    def __init__(self) -> None:
        super().__init__()
        self._held: list[Fillings] = []

    def holds(self, fillings: Fillings) -> bool:
        """Return whether it was filled with these."""
        return any(held is fillings for held in self._held)

    def fill(self, fillings: Fillings, *, rows: int, like: torch.Tensor) -> None:
        """Add keys and values, after the existing ones, for every row of a batch."""
        for layer in sorted(fillings):
            for part in fillings[layer]:
                pair = (part.keys, part.values)
                keys, values = (each.to(like).expand(rows, -1, -1, -1) for each in pair)
                super().update(keys, values, layer)
        self._held.append(fillings)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add keys and values of a layer, and return all that it has."""
        for held in self._held:
            for part in held.get(layer_idx, ()):
                part.fired()
        whole: tuple[torch.Tensor, torch.Tensor]
        whole = super().update(key_states, value_states, layer_idx, *args, **kwargs)
        return whole


def takes_cache(network: PreTrainedModel) -> bool:
    """Return whether a network's forward takes a cache."""
    return bool(name_of_cache(network))


def filling(
    network: PreTrainedModel, modules: Mapping[nn.Module, Sequence[LayerPrefill]]
) -> Callable[[Keywords], Keywords]:
    """Return the function that puts a filled cache among a network's arguments.

    A cache of an earlier forward, which holds the prefix already, stays.

    Args:
        network: One that takes a cache.
        modules: The initial content for each attention.

    Raises:
        Inconclusive: The network does not number its layers.
    """
    own_name = name_of_cache(network)
    fillings = {_number(module): parts for module, parts in modules.items()}
    counts = {sum(part.keys.shape[1] for part in parts) for parts in fillings.values()}
    if sorted(fillings) != list(range(len(modules))) or len(counts) != 1:
        raise Inconclusive(f"{type(network).__name__} has no place for keys before its own")
    count, weight = counts.pop(), next(network.parameters())
    is_double = network.config.is_encoder_decoder is True
    mask_name = "decoder_attention_mask" if is_double else "attention_mask"

    def put(keywords: Keywords) -> Keywords:
        arguments = dict(keywords)
        name = next((n for n in CACHE_NAMES if arguments.get(n) is not None), own_name)  # either may be used
        mask, positions = arguments.get(mask_name), arguments.get("position_ids")
        arguments[name], cache = _prepare_cache(arguments.get(name), is_double=is_double)
        if not cache.holds(fillings):
            rows = next(v.shape[0] for v in arguments.values() if isinstance(v, torch.Tensor))
            cache.fill(fillings, rows=rows, like=weight)
        if isinstance(mask, torch.Tensor):
            arguments[mask_name] = torch.cat([mask.new_ones(mask.shape[0], count), mask], dim=1)
        if isinstance(positions, torch.Tensor):
            arguments["position_ids"] = positions + count
        if "use_cache" in arguments:  # Whisper leaves a cache aside that it is not to use
            arguments["use_cache"] = True
        return arguments

    return put


def _prepare_cache(given: object, *, is_double: bool) -> tuple[object, PrefilledCache]:
    """Return the cache to pass on, and the part of it that is for self-attention."""
    own = given.self_attention_cache if isinstance(given, EncoderDecoderCache) else given
    if isinstance(own, PrefilledCache):
        return given, own
    if isinstance(own, DynamicCache) and own.get_seq_length():
        raise Inconclusive("the cache is of tokens that were read without the prefix")
    cache = PrefilledCache()
    return (EncoderDecoderCache(cache, DynamicCache()) if is_double else cache), cache


def name_of_cache(network: PreTrainedModel) -> str:
    """Return the parameter by which a network's forward takes a cache; empty where it takes none."""
    takes = inspect.signature(network.forward).parameters
    return next((name for name in CACHE_NAMES if name in takes), "")


def _number(module: nn.Module) -> int:
    numbers = (getattr(module, name, None) for name in _NUMBERS)
    return next((number for number in numbers if isinstance(number, int)), -1)
