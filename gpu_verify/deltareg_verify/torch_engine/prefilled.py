"""Prefixes for decoders with an attention of their own: a cache that is not empty at the start.

A prefix that moves the tokens by its length is to such a network what earlier tokens are, and the
cache is where it keeps those. Positions, biases and masks are then the network's own business.
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
_NUMBERS = ("layer_idx", "layer_id", "layer_number")


@dataclass(frozen=True, slots=True)
class Filling:
    """What a layer's cache holds at the start.

    Attributes:
        keys: (heads, n, width).
        values: (heads, n, width).
        fired: Called whenever the layer takes it.
    """

    keys: torch.Tensor
    values: torch.Tensor
    fired: Callable[[], None]


class Prefilled(DynamicCache):
    """A cache that tells when a layer takes what it was filled with."""

    def __init__(
        self, fillings: Mapping[int, Sequence[Filling]], rows: int, like: torch.Tensor
    ) -> None:
        super().__init__()
        self._fired: dict[int, list[Callable[[], None]]] = {}
        for layer in sorted(fillings):
            parts = fillings[layer]
            pairs = zip(*((part.keys, part.values) for part in parts), strict=True)
            keys, values = (torch.cat(pair, dim=1).expand(rows, -1, -1, -1) for pair in pairs)
            self.update(keys.to(like), values.to(like), layer)
            self._fired[layer] = [part.fired for part in parts]

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *args: object,
        **kwargs: object,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add keys and values of a layer; give all that it has."""
        for fired in self._fired.get(layer_idx, ()):
            fired()
        return super().update(key_states, value_states, layer_idx, *args, **kwargs)


def filling(
    network: PreTrainedModel, fillings: Mapping[nn.Module, Sequence[Filling]]
) -> Callable[[Keywords], Keywords]:
    """Give the function that puts a filled cache among a network's arguments.

    Raises:
        Inconclusive: The network takes no cache, or does not number its layers.
    """
    takes = inspect.signature(network.forward).parameters
    name = next((name for name in ("cache", "past_key_values") if name in takes), "")
    by_number = {_number(module): parts for module, parts in fillings.items()}
    counts = {sum(part.keys.shape[1] for part in parts) for parts in fillings.values()}
    if not name or sorted(by_number) != list(range(len(fillings))) or len(counts) != 1:
        raise Inconclusive(f"{type(network).__name__} has no place for keys before its own")
    count, weight = counts.pop(), next(network.parameters())
    is_double = network.config.is_encoder_decoder is True
    mask_name = "decoder_attention_mask" if is_double else "attention_mask"

    def put(keywords: Keywords) -> Keywords:
        given = dict(keywords)
        rows = next(v.shape[0] for v in given.values() if isinstance(v, torch.Tensor))
        mask, positions = given.get(mask_name), given.get("position_ids")
        filled = Prefilled(by_number, rows, weight)
        given[name] = EncoderDecoderCache(filled, DynamicCache()) if is_double else filled
        if isinstance(mask, torch.Tensor):
            given[mask_name] = torch.cat([mask.new_ones(mask.shape[0], count), mask], dim=1)
        if isinstance(positions, torch.Tensor):
            given["position_ids"] = positions + count
        return given

    return put


def _number(module: nn.Module) -> int:
    found = (getattr(module, name, None) for name in _NUMBERS)
    return next((number for number in found if isinstance(number, int)), -1)
