"""The positions of the real tokens when a prefix comes before them.

peft counts a prefix as the first n positions, so the tokens begin at n; the adapters library lets
them begin at 0. Relative positions are a bias on the scores (Raffel et al. 2020, arXiv 1910.10683,
section 2.1), which the prefix's keys need, too.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import inspect
import re
from collections.abc import Callable
from typing import cast

import torch
from torch import nn
from transformers import PreTrainedModel

Keywords = dict[str, object]
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


def takes_positions(network: PreTrainedModel) -> bool:
    """Return whether a network of one stack takes the positions of its tokens."""
    takes = inspect.signature(network.forward).parameters
    return "position_ids" in takes and network.config.get_text_config() is network.config


def most_positions(network: nn.Module, otherwise: int) -> int:
    """Return how many tokens a network takes at once, or `otherwise` where it sets no limit."""
    config = network.config.get_text_config() if isinstance(network, PreTrainedModel) else None
    return int(getattr(config, "max_position_embeddings", None) or otherwise)


def shifting(network: PreTrainedModel, shift: int) -> Callable[[Keywords], Keywords]:
    """Return the function that shifts the positions in a network's arguments."""
    maker = _maker(network)

    def move(keywords: Keywords) -> Keywords:
        positions = keywords.get("position_ids")
        shifted = positions + shift if isinstance(positions, torch.Tensor) else maker(keywords, shift)
        return {**keywords, "position_ids": shifted}

    return move


def bias_owner(network: nn.Module, path: str) -> nn.Module | None:
    """Find the module that computes the relative bias of an attention: its own, or the stack's first.

    Args:
        network: The network.
        path: The attention's path; paths that differ only in the layer's number are of one stack.
    """
    like = _NUMBER.sub("N", path)
    for name, module in network.named_modules():
        is_alike = name == path or _NUMBER.sub("N", name) == like
        if is_alike and getattr(module, "has_relative_attention_bias", False):
            own = network.get_submodule(path)
            return own if getattr(own, "has_relative_attention_bias", False) else module
    return None


def bias_of_all_keys(owner: nn.Module | None, bias: torch.Tensor, count: int) -> torch.Tensor:
    """Return the position bias of a prefix's keys and the real ones, with the prefix at the start.

    The queries keep their positions, so the real keys are farther by the prefix's length than they
    would be without it. The adapters library does the same.

    Args:
        owner: The module that computes it; None for an attention without one, such as
            cross-attention.
        bias: The bias of the real keys, (1, heads, queries, keys).
        count: How many keys the prefix has.
    """
    queries, keys = bias.shape[-2:]
    if owner is None:
        return torch.cat([bias.new_zeros(*bias.shape[:-1], count), bias], dim=-1)
    compute = cast("Callable[..., torch.Tensor]", owner.compute_bias)
    past = keys - queries
    full_bias = compute(queries, count + keys, device=bias.device, past_seen_tokens=past)
    return full_bias.to(bias.dtype)


def _maker(network: PreTrainedModel) -> Callable[[Keywords, int], torch.Tensor]:
    by_tokens = next((m for m in network.modules() if hasattr(m, "create_position_ids_from_input_ids")), None)
    if by_tokens is None:
        return _number_tokens
    return lambda keywords, shift: _after_padding(by_tokens, keywords, shift)


def _number_tokens(keywords: Keywords, shift: int) -> torch.Tensor:
    embeds = keywords.get("inputs_embeds")
    tokens = embeds if isinstance(embeds, torch.Tensor) else keywords["input_ids"]
    assert isinstance(tokens, torch.Tensor)
    return torch.arange(shift, shift + tokens.shape[1], device=tokens.device)[None]


def _after_padding(embeddings: nn.Module, keywords: Keywords, shift: int) -> torch.Tensor:
    """Number the tokens that are not padding, starting after the padding's own number (RoBERTa)."""
    number = cast("Callable[..., torch.Tensor]", embeddings.create_position_ids_from_input_ids)
    tokens, padding = keywords.get("input_ids"), embeddings.padding_idx
    if isinstance(tokens, torch.Tensor):
        return number(tokens, padding, shift)
    assert isinstance(padding, int)
    return _number_tokens(keywords, shift + padding + 1)
