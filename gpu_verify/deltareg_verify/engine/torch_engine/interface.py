"""The library's attention interface: how a network comes to call our attention functions.

The interface is a table of functions by name that most architectures call with the module, queries,
keys and values (transformers, `AttentionInterface`). Functions of our own are entered there once; a
network is switched to them while it has a prefix, and they do what the original does for every
module without one. A mask function goes with each: a name without one would get no mask at all.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from deltareg.errors import Inconclusive
from deltareg_verify.engine.torch_engine.attention import AttentionCall, prefixes_of

_OURS = "deltareg_"
_KNOWN = ("sdpa", "eager")
Attend = Callable[..., tuple[torch.Tensor, torch.Tensor | None]]
Implementations = dict[str, "str | Implementations"]


@dataclass(slots=True)
class _Switch:
    """A network that runs with our functions: how many callers need it, and its former functions."""

    count: int
    before: Implementations


_SWITCHES: WeakKeyDictionary[PreTrainedModel, _Switch] = WeakKeyDictionary()


@contextmanager
def switch_attention(network: PreTrainedModel) -> Generator[None]:
    """Have a network call our attention functions; the last caller to leave restores its own.

    Raises:
        Inconclusive: It runs an implementation that is not known here.
    """
    _register()
    switch = _SWITCHES.get(network)
    if switch is None:
        before = _implementations(network.config)
        network.set_attn_implementation(_ours(before))
        switch = _SWITCHES[network] = _Switch(0, before)
    switch.count += 1
    try:
        yield
    finally:
        switch.count -= 1
        if not switch.count:
            del _SWITCHES[network]
            network.set_attn_implementation(switch.before)


def is_switched(attention: nn.Module, network: PreTrainedModel) -> bool:
    """Return whether an attention looks its function up in the interface, as far as its config tells."""
    config = getattr(attention, "config", network.config)
    name = getattr(config, "_attn_implementation", None)
    return isinstance(name, str) and name.startswith(_OURS)


def _register() -> None:
    for name in _KNOWN:
        if f"{_OURS}{name}" not in AttentionInterface():
            AttentionMaskInterface.register(f"{_OURS}{name}", _mask_as(name))
            AttentionInterface.register(f"{_OURS}{name}", _attend_as(name))


def _implementations(config: object) -> Implementations:
    """Return the names of the functions that a config and its nested configs ask for."""
    own = getattr(config, "_attn_implementation", None)
    implementations: Implementations = {"": own if isinstance(own, str) else "eager"}
    for name in cast("Sequence[str]", getattr(config, "sub_configs", ())):
        inner = getattr(config, name, None)
        if inner is not None:
            implementations[name] = _implementations(inner)
    return implementations


def _ours(before: Implementations) -> Implementations:
    switched: Implementations = {}
    for name, original in before.items():
        if isinstance(original, dict):
            switched[name] = _ours(original)
        elif original in _KNOWN:
            switched[name] = f"{_OURS}{original}"
        else:
            raise Inconclusive(f"no prefix can be put before keys under the attention {original}")
    return switched


def _mask_as(name: str) -> Callable[..., torch.Tensor | None]:
    build = AttentionMaskInterface()[name]

    def mask(*args: object, **kwargs: object) -> torch.Tensor | None:
        return cast("torch.Tensor | None", build(*args, **{**kwargs, "allow_is_causal_skip": False}))

    return mask


def _attend_as(name: str) -> Attend:
    def attend(
        module: nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        **kwargs: object,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        original = _original(name, module)
        prefixes = prefixes_of(module)
        if not prefixes:
            return original(module, query, key, value, attention_mask, **kwargs)
        call = AttentionCall(module, query, key, prefixes, kwargs)
        mask = call.mask(attention_mask)
        kwargs = call.arguments()
        keys, values = call.prepend_prefixes(key, value)
        for prefix in prefixes:
            prefix.fired()
        return original(module, query, keys, values, mask, **kwargs)

    return attend


def _original(name: str, module: nn.Module) -> Attend:
    """Find the function that a module would have called; the plain one is in its own file."""
    if name != "eager":
        return cast(Attend, AttentionInterface()[name])
    for kind in type(module).__mro__:
        function = getattr(sys.modules[kind.__module__], "eager_attention_forward", None)
        if function is not None:
            return cast(Attend, function)
    raise Inconclusive(f"{type(module).__name__} has no plain attention of its own")
