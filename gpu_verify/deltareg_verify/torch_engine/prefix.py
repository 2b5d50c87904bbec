"""Prefixes on a live network: vectors before keys and values, tokens, or embeddings.

Nothing of the network is changed: hooks and a named attention function act while a context is open,
and the network is the base again when it closes, whatever happened within.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import inspect
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import nn
from transformers import PreTrainedModel

from deltareg.errors import Inconclusive
from deltareg.kind import Hook, PrefixInsert, Seen
from deltareg_verify.torch_engine import attention
from deltareg_verify.torch_engine.ops import TorchOps, as_array, as_torch
from deltareg_verify.torch_engine.positions import (
    Keywords,
    bias_owner,
    has_relative_bias,
    shifting,
    takes_positions,
)
from deltareg_verify.torch_engine.prefilled import Filling, filling

_TYPES = "token_type_ids"
Arguments = tuple[object, ...]
Fired = Callable[[PrefixInsert], None]


@contextmanager
def inserted(
    network: nn.Module, inserts: Sequence[PrefixInsert], ops: TorchOps, fired: Fired
) -> Generator[None]:
    """Put prefixes on a network while the context is open; in their order, the first one first.

    Args:
        network: The live network; it must be given its inputs by name.
        inserts: The prefixes.
        ops: Reads and computes their vectors.
        fired: Called with an insert whenever a forward uses it.

    Raises:
        Inconclusive: The network has no place for a prefix that is known here.
    """
    if not inserts:
        yield
        return
    if not isinstance(network, PreTrainedModel):
        raise Inconclusive(f"no prefix can be put on a {type(network).__name__}")
    with ExitStack() as stack, torch.no_grad():
        for insert in (i for i in inserts if i.site != "attention"):
            stack.enter_context(_input_rows(network, insert, ops, fired))
        stack.enter_context(_attention(network, inserts, ops, fired))
        yield


def added_rows(inserts: Sequence[PrefixInsert], ops: TorchOps) -> int:
    """How many rows longer the outputs of a network are with these prefixes on it."""
    rows = (i.vectors.make(ops)[0].shape[0] for i in inserts if i.site != "attention")
    return sum(rows)


@contextmanager
def _attention(
    network: PreTrainedModel, inserts: Sequence[PrefixInsert], ops: TorchOps, fired: Fired
) -> Generator[None]:
    sites: dict[str, list[PrefixInsert]] = defaultdict(list)
    for insert in inserts:
        if insert.site == "attention":
            sites[insert.module].append(insert)
    if not sites:
        yield
        return
    with ExitStack() as stack:
        stack.enter_context(attention.switched(network))
        if _is_within_reach(network, sites):
            for path, listed in sites.items():
                for insert in listed:
                    module = _module(network, path)
                    stack.enter_context(_key_values(network, module, insert, ops, fired))
            _shift(stack, network, sites)
        else:
            _fill(stack, network, sites, ops, fired)
        yield


def _is_within_reach(network: PreTrainedModel, sites: Mapping[str, Sequence[PrefixInsert]]) -> bool:
    """Whether the interface leads to these attentions, and their tokens' positions can be moved."""
    modules = [_module(network, path) for path in sites]
    moves = any(insert.shift for listed in sites.values() for insert in listed)
    can_move = all(map(has_relative_bias, modules)) or takes_positions(network)
    is_switched = all(attention.is_switched(module, network) for module in modules)
    return is_switched and (can_move or not moves)


def _fill(
    stack: ExitStack,
    network: PreTrainedModel,
    sites: Mapping[str, Sequence[PrefixInsert]],
    ops: TorchOps,
    fired: Fired,
) -> None:
    """Fill the cache of a network whose attention cannot be reached otherwise."""
    fillings: dict[nn.Module, list[Filling]] = defaultdict(list)
    for path, listed in sites.items():
        for insert in listed:
            keys, values = _keys_values(insert, ops)
            if insert.shift != keys.shape[1] or insert.gate is not None:
                raise Inconclusive(
                    f"the attention of {type(network).__name__} is its own, and takes no prefix"
                )
            part = Filling(keys, values, partial(fired, insert))
            fillings[_module(network, path)].append(part)
    _before_forward(stack, network, filling(network, fillings))


def _before_forward(
    stack: ExitStack, network: PreTrainedModel, change: Callable[[Keywords], Keywords]
) -> None:
    def hook(_network: nn.Module, args: Arguments, kwargs: Keywords) -> tuple[Arguments, Keywords]:
        return args, change(kwargs)

    handle = network.register_forward_pre_hook(hook, with_kwargs=True)
    stack.callback(handle.remove)


@contextmanager
def _key_values(
    network: PreTrainedModel, module: nn.Module, insert: PrefixInsert, ops: TorchOps, fired: Fired
) -> Generator[None]:
    keys, values = _keys_values(insert, ops)
    owner = bias_owner(network, insert.module)
    prefix = attention.KeyValues(keys, values, insert.shift, owner, partial(fired, insert))
    with ExitStack() as stack:
        if insert.gate is not None:
            hook = partial(_open_gate, insert.gate, prefix, ops)
            handle = module.register_forward_pre_hook(hook, with_kwargs=True)
            stack.callback(handle.remove)
        stack.enter_context(attention.put_before(module, prefix))
        yield


def _keys_values(insert: PrefixInsert, ops: TorchOps) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the vectors of an attention, (heads, n, width) each."""
    made = [as_torch(part).permute(1, 0, 2) for part in insert.vectors.make(ops)]
    if len(made) != 2:
        raise Inconclusive(f"{insert.module} takes keys and values, and {len(made)} arrays came")
    return made[0], made[1]


def _open_gate(
    gate: Hook,
    prefix: attention.KeyValues,
    ops: TorchOps,
    _module: nn.Module,
    args: Arguments,
    kwargs: Keywords,
) -> None:
    states = args[0] if args else kwargs["hidden_states"]
    assert isinstance(states, torch.Tensor)
    factors = as_torch(gate.apply(as_array(states.float()), Seen(), ops))
    prefix.factors = factors.reshape(states.shape[0], -1)


def _shift(
    stack: ExitStack, network: PreTrainedModel, sites: Mapping[str, Sequence[PrefixInsert]]
) -> None:
    """Move the positions of the real tokens by what all prefixes of an attention ask for."""
    shifts = {sum(insert.shift for insert in listed) for listed in sites.values()}
    if shifts == {0} or all(has_relative_bias(_module(network, path)) for path in sites):
        return
    if len(shifts) > 1 or any(0 in {i.shift for i in listed} for listed in sites.values()):
        raise Inconclusive("these prefixes disagree about where the tokens begin")
    _before_forward(stack, network, shifting(network, shifts.pop()))


@contextmanager
def _input_rows(
    network: PreTrainedModel, insert: PrefixInsert, ops: TorchOps, fired: Fired
) -> Generator[None]:
    """Put rows before the embedded tokens that go in, or before what the embeddings give.

    A hook runs before those that were there, so the rows of the first insert end up first.
    """
    (made,) = insert.vectors.make(ops)
    rows = as_torch(made)
    with ExitStack() as stack:
        if insert.site == "tokens":
            _check_takes_vectors(network)
            change = partial(_before_tokens, rows, partial(fired, insert))
        else:
            change = partial(_before_embeddings, rows.shape[0])
            embeddings = _module(network, insert.module)
            hook = partial(_before_output, rows, partial(fired, insert))
            stack.callback(embeddings.register_forward_hook(hook, prepend=True).remove)
        handle = network.register_forward_pre_hook(change, with_kwargs=True, prepend=True)
        stack.callback(handle.remove)
        yield


def _check_takes_vectors(network: PreTrainedModel) -> None:
    if "inputs_embeds" not in inspect.signature(network.forward).parameters:
        raise Inconclusive(f"{type(network).__name__} takes no vectors in place of tokens")


def _before_tokens(
    rows: torch.Tensor,
    fired: Callable[[], None],
    network: PreTrainedModel,
    args: Arguments,
    kwargs: Keywords,
) -> tuple[Arguments, Keywords]:
    given = dict(kwargs)
    tokens, embedded = given.pop("input_ids", None), given.pop("inputs_embeds", None)
    if not isinstance(embedded, torch.Tensor):
        embedded = network.get_input_embeddings()(tokens)
    given.pop("position_ids", None)
    given["inputs_embeds"] = _joined(rows, embedded)
    fired()
    return args, _widened(rows.shape[0], given)


def _before_embeddings(
    count: int, _network: PreTrainedModel, args: Arguments, kwargs: Keywords
) -> tuple[Arguments, Keywords]:
    return args, _widened(count, kwargs)


def _before_output(
    rows: torch.Tensor,
    fired: Callable[[], None],
    _module: nn.Module,
    _args: Arguments,
    output: torch.Tensor,
) -> torch.Tensor:
    fired()
    return _joined(rows, output)


def _joined(rows: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    return torch.cat([rows.to(given.dtype).expand(given.shape[0], -1, -1), given], dim=1)


def _widened(count: int, keywords: Keywords) -> Keywords:
    """Let every token see the rows; token types are 0 there, unless the embeddings add them."""
    given = dict(keywords)
    mask, types = given.get("attention_mask"), given.get(_TYPES)
    if isinstance(mask, torch.Tensor):
        given["attention_mask"] = torch.cat([mask.new_ones(mask.shape[0], count), mask], dim=1)
    if isinstance(types, torch.Tensor) and "inputs_embeds" in given:
        given[_TYPES] = torch.cat([types.new_zeros(types.shape[0], count), types], dim=1)
    return given


def _module(network: nn.Module, path: str) -> nn.Module:
    try:
        return network.get_submodule(path)
    except AttributeError as error:
        raise Inconclusive(f"{type(network).__name__} has no {path} to put a prefix on") from error
