"""Prefixes on a live network: vectors before keys and values, tokens, or embeddings.

The network itself is not changed: hooks and a named attention function act while a context is open,
and the network is the base again when it closes, whatever happened within.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import nn
from transformers import PreTrainedModel

from deltareg.delta.kind import Effect, Hook, HookInputs, PrefixInsert
from deltareg.errors import Inconclusive
from deltareg_verify.engine.engine import F32
from deltareg_verify.engine.torch_engine.attention import KeyValues, put_before
from deltareg_verify.engine.torch_engine.input_rows import rows_before, submodule
from deltareg_verify.engine.torch_engine.interface import is_switched, switch_attention
from deltareg_verify.engine.torch_engine.ops import TorchOps, as_array, as_torch
from deltareg_verify.engine.torch_engine.positions import Keywords, bias_owner, shifting, takes_positions
from deltareg_verify.engine.torch_engine.prefix_cache import LayerPrefill, filling, takes_cache

Arguments = tuple[object, ...]
Fired = Callable[[PrefixInsert], None]


@contextmanager
def insert_prefixes(
    network: nn.Module, inserts: Sequence[PrefixInsert], ops: TorchOps, fired: Fired
) -> Generator[None]:
    """Put prefixes on a network while the context is open; in order, the first one first.

    Args:
        network: The live network; its inputs must be passed by name.
        inserts: The prefixes.
        ops: Reads and computes their vectors.
        fired: Called with an insert whenever a forward uses it.

    Raises:
        Inconclusive: The network has no known place for a prefix.
    """
    if not inserts:
        yield
        return
    if not isinstance(network, PreTrainedModel):
        raise Inconclusive(f"no prefix can be put on a {type(network).__name__}")
    with ExitStack() as stack:
        for insert in (i for i in inserts if i.site != "attention"):
            stack.enter_context(rows_before(network, insert, ops, fired))
        stack.enter_context(_attention(network, inserts, ops, fired))
        yield


def places_before(effects: Iterable[Effect]) -> int:
    """Count the places that a delta occupies before a text."""
    inserts = (effect for effect in effects if isinstance(effect, PrefixInsert))
    return max((insert.shift for insert in inserts), default=0)


def added_rows(inserts: Sequence[PrefixInsert], ops: TorchOps) -> int:
    """Count the rows that prefixes put before those of the inputs, in the outputs too."""
    rows = (i.vectors.make(ops)[0].shape[0] for i in inserts if i.site != "attention")
    return sum(rows)


def without_added(found: Mapping[str, F32], plain: Mapping[str, F32], count: int) -> dict[str, F32]:
    """Remove the rows of outputs that no input stands behind.

    Args:
        found: Outputs with prefixes.
        plain: Those of the base on the same inputs; an output of the same length keeps its rows.
        count: How many rows the prefixes have added.
    """
    longer = {
        name
        for name, value in found.items()
        if name in plain and min(value.ndim, plain[name].ndim) > 1 and value.shape[1] == plain[name].shape[1] + count
    }
    return {name: v[:, count:] if name in longer else v for name, v in found.items()}


@contextmanager
def _attention(
    network: PreTrainedModel, inserts: Sequence[PrefixInsert], ops: TorchOps, fired: Fired
) -> Generator[None]:
    """Put keys and values before those of attentions, through the cache where possible."""
    within = [insert for insert in inserts if insert.site == "attention"]
    cached = [insert for insert in within if _is_for_cache(network, insert)]
    others = [insert for insert in within if insert not in cached]
    with ExitStack() as stack:
        if cached:
            _fill(stack, network, cached, ops, fired)
        if others:
            stack.enter_context(switch_attention(network))
        for insert in others:
            stack.enter_context(_key_values(network, insert, ops, fired))
        _shift(stack, network, others)
        yield


def _is_for_cache(network: PreTrainedModel, insert: PrefixInsert) -> bool:
    """Return whether a prefix stands for earlier tokens of a decoder."""
    module = submodule(network, insert.module)
    # Some decoders leave it to their mask, and only say that they are one.
    is_causal = getattr(module, "is_causal", True) or getattr(module, "is_decoder", False)
    return bool(insert.shift and is_causal and insert.gate is None and takes_cache(network))


def _fill(
    stack: ExitStack, network: PreTrainedModel, inserts: Sequence[PrefixInsert], ops: TorchOps, fired: Fired
) -> None:
    fillings: dict[nn.Module, list[LayerPrefill]] = defaultdict(list)
    for insert in inserts:
        keys, values = _keys_values(insert, ops)
        if insert.shift != keys.shape[1]:
            message = f"{keys.shape[1]} keys move the tokens of a decoder, and not by {insert.shift}"
            raise Inconclusive(message)
        part = LayerPrefill(keys, values, partial(fired, insert))
        fillings[submodule(network, insert.module)].append(part)
    _before_forward(stack, network, filling(network, fillings))


def _before_forward(stack: ExitStack, network: PreTrainedModel, change: Callable[[Keywords], Keywords]) -> None:
    def hook(_network: nn.Module, args: Arguments, kwargs: Keywords) -> tuple[Arguments, Keywords]:
        return args, change(kwargs)

    handle = network.register_forward_pre_hook(hook, with_kwargs=True)
    stack.callback(handle.remove)


@contextmanager
def _key_values(network: PreTrainedModel, insert: PrefixInsert, ops: TorchOps, fired: Fired) -> Generator[None]:
    module = submodule(network, insert.module)
    if not is_switched(module, network):
        message = f"the attention of {type(network).__name__} is its own, and takes no prefix"
        raise Inconclusive(message)
    keys, values = _keys_values(insert, ops)
    owner = bias_owner(network, insert.module)
    prefix = KeyValues(keys, values, insert.shift, owner, partial(fired, insert))
    with ExitStack() as stack:
        if insert.gate is not None:
            hook = partial(_open_gate, insert.gate, prefix, ops)
            handle = module.register_forward_pre_hook(hook, with_kwargs=True)
            stack.callback(handle.remove)
        stack.enter_context(put_before(module, prefix))
        yield


def _keys_values(insert: PrefixInsert, ops: TorchOps) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the vectors of an attention, (heads, n, width) each."""
    parts = [as_torch(part).permute(1, 0, 2) for part in insert.vectors.make(ops)]
    if len(parts) != 2:
        raise Inconclusive(f"{insert.module} takes keys and values, and {len(parts)} arrays came")
    return parts[0], parts[1]


def _open_gate(
    gate: Hook, prefix: KeyValues, ops: TorchOps, _module: nn.Module, args: Arguments, kwargs: Keywords
) -> None:
    states = args[0] if args else kwargs["hidden_states"]
    assert isinstance(states, torch.Tensor)
    factors = as_torch(gate.apply(as_array(states.float()), HookInputs(), ops))
    prefix.factors.value = factors.reshape(states.shape[0], -1)


def _shift(stack: ExitStack, network: PreTrainedModel, inserts: Sequence[PrefixInsert]) -> None:
    """Shift the positions of the real tokens by the shifts of all prefixes of an attention."""
    shifts: dict[str, int] = defaultdict(int)
    for insert in inserts:
        shifts[insert.module] += insert.shift
    if not any(shifts.values()):
        return
    if len(set(shifts.values())) > 1 or not takes_positions(network):
        reason = "takes no positions" if len(set(shifts.values())) == 1 else "has its own everywhere"
        raise Inconclusive(f"the tokens cannot be moved in {type(network).__name__}: it {reason}")
    _before_forward(stack, network, shifting(network, next(iter(shifts.values()))))
