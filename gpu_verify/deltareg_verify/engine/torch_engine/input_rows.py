"""Prompts on a live network: rows before the embedded tokens, or before the embeddings' output."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import inspect
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import nn
from transformers import Cache, PreTrainedModel

from deltareg.delta.kind import PrefixInsert
from deltareg.errors import Inconclusive
from deltareg_verify.engine.torch_engine.ops import TorchOps, as_torch
from deltareg_verify.engine.torch_engine.positions import Keywords

_TYPES = "token_type_ids"
Arguments = tuple[object, ...]
Fired = Callable[[PrefixInsert], None]


@contextmanager
def rows_before(network: PreTrainedModel, insert: PrefixInsert, ops: TorchOps, fired: Fired) -> Generator[None]:
    """Put rows before the embedded tokens that go in, or before the embeddings' output.

    A hook runs before the existing ones, so the rows of the first insert end up first.
    """
    (vectors,) = insert.vectors.make(ops)
    rows = as_torch(vectors)
    with ExitStack() as stack:
        if insert.site == "tokens":
            _check_takes_vectors(network)
            change = partial(_before_tokens, rows, partial(fired, insert))
        else:
            change = partial(_before_embeddings, rows.shape[0])
            embeddings = submodule(network, insert.module)
            hook = partial(_before_output, rows, partial(fired, insert))
            stack.callback(embeddings.register_forward_hook(hook, prepend=True).remove)
        handle = network.register_forward_pre_hook(change, with_kwargs=True, prepend=True)
        stack.callback(handle.remove)
        yield


def submodule(network: nn.Module, path: str) -> nn.Module:
    """Return a module of a network by its path.

    Raises:
        Inconclusive: There is no such module.
    """
    try:
        return network.get_submodule(path)
    except AttributeError as error:
        raise Inconclusive(f"{type(network).__name__} has no {path} to put a prefix on") from error


def _check_takes_vectors(network: PreTrainedModel) -> None:
    if "inputs_embeds" not in inspect.signature(network.forward).parameters:
        raise Inconclusive(f"{type(network).__name__} takes no vectors in place of tokens")


def _before_tokens(
    rows: torch.Tensor, fired: Callable[[], None], network: PreTrainedModel, args: Arguments, kwargs: Keywords
) -> tuple[Arguments, Keywords]:
    arguments = dict(kwargs)
    if _is_under_way(arguments):  # the rows are in the cache; the network counts on from its length
        arguments.pop("position_ids", None)
        fired()
        return args, _widen_mask(rows.shape[0], arguments)
    tokens, embedded = arguments.pop("input_ids", None), arguments.pop("inputs_embeds", None)
    if not isinstance(embedded, torch.Tensor):
        embedded = network.get_input_embeddings()(tokens)
    arguments.pop("position_ids", None)
    arguments["inputs_embeds"] = _prepend_rows(rows, embedded)
    fired()
    return args, _widen_mask(rows.shape[0], arguments)


def _is_under_way(keywords: Keywords) -> bool:
    """Return whether the cache in the arguments holds earlier tokens."""
    cache = keywords.get("past_key_values", keywords.get("cache"))
    return isinstance(cache, Cache) and int(cache.get_seq_length()) > 0


def _before_embeddings(
    count: int, _network: PreTrainedModel, args: Arguments, kwargs: Keywords
) -> tuple[Arguments, Keywords]:
    return args, _widen_mask(count, kwargs)


def _before_output(
    rows: torch.Tensor, fired: Callable[[], None], _module: nn.Module, _args: Arguments, output: torch.Tensor
) -> torch.Tensor:
    fired()
    return _prepend_rows(rows, output)


def _prepend_rows(rows: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    return torch.cat([rows.to(given.dtype).expand(given.shape[0], -1, -1), given], dim=1)


def _widen_mask(count: int, keywords: Keywords) -> Keywords:
    """Let every token see the rows; token types are 0 there, unless the embeddings add them."""
    arguments = dict(keywords)
    mask, types = arguments.get("attention_mask"), arguments.get(_TYPES)
    if isinstance(mask, torch.Tensor):
        arguments["attention_mask"] = torch.cat([mask.new_ones(mask.shape[0], count), mask], dim=1)
    if isinstance(types, torch.Tensor) and "inputs_embeds" in arguments:
        arguments[_TYPES] = torch.cat([types.new_zeros(types.shape[0], count), types], dim=1)
    return arguments
