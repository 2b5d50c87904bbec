"""Keys and values put before an attention's own, through the library's attention interface.

The interface is a table of functions by name that most architectures call with the module, queries,
keys and values (transformers, `AttentionInterface`). Functions of our own are entered there once; a
network is switched to them while it has a prefix, and they do what the original does for every
module without one. Which module has a prefix is kept by the module object: not every architecture
numbers its layers.

The mask of such a network is always built: without one the kernel aligns causality with the first
key, which is wrong as soon as there are more keys than queries.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from deltareg.errors import Inconclusive
from deltareg_verify.torch_engine.positions import bias_of_all_keys

_OURS = "deltareg_"
_KNOWN = ("sdpa", "eager")
Attend = Callable[..., tuple[torch.Tensor, torch.Tensor | None]]
Implementations = dict[str, "str | Implementations"]


@dataclass(slots=True)
class KeyValues:
    """What is put before the keys and values of one attention.

    Attributes:
        keys: (heads, n, width).
        values: (heads, n, width).
        shift: By how much the real tokens move.
        bias_owner: The module that makes the relative position bias of this attention, if any.
        fired: Called whenever an attention uses it.
        factors: For each row a factor on keys and one on values, (b, 2), of the forward that runs.
    """

    keys: torch.Tensor
    values: torch.Tensor
    shift: int
    bias_owner: nn.Module | None
    fired: Callable[[], None]
    factors: torch.Tensor | None = field(default=None)

    def for_rows(self, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Give keys and values for a batch, (b, heads, n, width) each."""
        keys, values = (part.expand(rows, -1, -1, -1) for part in (self.keys, self.values))
        if self.factors is None:
            return keys, values
        on_keys, on_values = self.factors[:, 0], self.factors[:, -1]
        return keys * on_keys.reshape(-1, 1, 1, 1), values * on_values.reshape(-1, 1, 1, 1)


@dataclass(slots=True)
class _Switch:
    """A network that runs with our functions: how many asked for it, and what it had before."""

    count: int
    before: Implementations


_PREFIXES: WeakKeyDictionary[nn.Module, list[KeyValues]] = WeakKeyDictionary()
_SWITCHES: WeakKeyDictionary[PreTrainedModel, _Switch] = WeakKeyDictionary()


@contextmanager
def switched(network: PreTrainedModel) -> Generator[None]:
    """Have a network call our attention functions; the last one to leave gives back its own.

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


@contextmanager
def put_before(attention: nn.Module, prefix: KeyValues) -> Generator[None]:
    """Put keys and values before those of one attention, after what is there already."""
    _PREFIXES.setdefault(attention, []).append(prefix)
    try:
        yield
    finally:
        left = [other for other in _PREFIXES[attention] if other is not prefix]
        if left:
            _PREFIXES[attention] = left
        else:
            del _PREFIXES[attention]


def is_switched(attention: nn.Module, network: PreTrainedModel) -> bool:
    """Whether an attention looks its function up in the interface, as far as its config tells."""
    config = getattr(attention, "config", network.config)
    name = getattr(config, "_attn_implementation", None)
    return isinstance(name, str) and name.startswith(_OURS)


def _register() -> None:
    for name in _KNOWN:
        if f"{_OURS}{name}" not in AttentionInterface():
            AttentionMaskInterface.register(f"{_OURS}{name}", _mask_as(name))
            AttentionInterface.register(f"{_OURS}{name}", _attend_as(name))


def _implementations(config: object) -> Implementations:
    """Give the names of the functions that a config and those within it ask for."""
    own = getattr(config, "_attn_implementation", None)
    found: Implementations = {"": own if isinstance(own, str) else "eager"}
    for name in cast("Sequence[str]", getattr(config, "sub_configs", ())):
        inner = getattr(config, name, None)
        if inner is not None:
            found[name] = _implementations(inner)
    return found


def _ours(before: Implementations) -> Implementations:
    made: Implementations = {}
    for name, told in before.items():
        if isinstance(told, dict):
            made[name] = _ours(told)
        elif told in _KNOWN:
            made[name] = f"{_OURS}{told}"
        else:
            raise Inconclusive(f"no prefix can be put before keys under the attention {told}")
    return made


def _mask_as(name: str) -> Callable[..., torch.Tensor | None]:
    build = AttentionMaskInterface()[name]

    def mask(*args: object, **kwargs: object) -> torch.Tensor | None:
        return cast(
            "torch.Tensor | None", build(*args, **{**kwargs, "allow_is_causal_skip": False})
        )

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
        prefixes = _PREFIXES.get(module)
        if not prefixes:
            return original(module, query, key, value, attention_mask, **kwargs)
        call = _Call(module, query, key, prefixes, kwargs)
        mask = call.mask(attention_mask)
        kwargs = call.arguments()
        keys, values = call.joined(key, value)
        for prefix in prefixes:
            prefix.fired()
        return original(module, query, keys, values, mask, **kwargs)

    return attend


def _original(name: str, module: nn.Module) -> Attend:
    """Find the function that a module would have called; the plain one stands in its own file."""
    if name != "eager":
        return cast(Attend, AttentionInterface()[name])
    for kind in type(module).__mro__:
        found = getattr(sys.modules[kind.__module__], "eager_attention_forward", None)
        if found is not None:
            return cast(Attend, found)
    raise Inconclusive(f"{type(module).__name__} has no plain attention of its own")


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of an attention that has a prefix."""

    module: nn.Module
    query: torch.Tensor
    key: torch.Tensor
    prefixes: Sequence[KeyValues]
    kwargs: dict[str, object]

    @property
    def count(self) -> int:
        return sum(prefix.keys.shape[1] for prefix in self.prefixes)

    @property
    def shift(self) -> int:
        return sum(prefix.shift for prefix in self.prefixes)

    def joined(self, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Put the prefixes before keys and values."""
        pairs = [prefix.for_rows(key.shape[0]) for prefix in self.prefixes]
        for keys, values in pairs:
            _check_fit(keys, key, "keys")
            _check_fit(values, value, "values")
        before = [torch.cat(parts, dim=2) for parts in zip(*pairs, strict=True)]
        return (
            torch.cat([before[0].to(key.dtype), key], dim=2),
            torch.cat([before[1].to(value.dtype), value], dim=2),
        )

    def mask(self, mask: torch.Tensor | None) -> torch.Tensor | None:
        """Let every query see the prefix, as far as a sliding window reaches."""
        columns = self._columns()
        if mask is None:
            if not self._is_causal:
                return None if bool(columns.all()) else self._beside(columns)
            mask = self._causal()
        columns = columns.expand(*mask.shape[:-2], *columns.shape[-2:])
        if mask.dtype != torch.bool:
            floor = torch.finfo(mask.dtype).min
            columns = torch.where(columns, 0.0, floor).to(mask.dtype)
        return torch.cat([columns, mask], dim=-1)

    def arguments(self) -> dict[str, object]:
        """Give the other arguments, with the position bias of the prefix's keys."""
        bias = self.kwargs.get("position_bias")
        if not isinstance(bias, torch.Tensor):
            return self.kwargs
        owner = self.prefixes[0].bias_owner
        made = bias_of_all_keys(owner, bias, count=self.count, shift=self.shift)
        return {**self.kwargs, "position_bias": made}

    @property
    def _is_causal(self) -> bool:
        told = self.kwargs.get("is_causal")
        own = getattr(self.module, "is_causal", True)
        return bool(own if told is None else told) and self.query.shape[2] > 1

    def _causal(self) -> torch.Tensor:
        queries, keys = self.query.shape[2], self.key.shape[2]
        full = torch.ones(1, 1, queries, keys, dtype=torch.bool, device=self.key.device)
        return full.tril(keys - queries)

    def _beside(self, columns: torch.Tensor) -> torch.Tensor:
        own = torch.ones(*columns.shape[:-1], self.key.shape[2], dtype=torch.bool).to(columns)
        return torch.cat([columns, own], dim=-1)

    def _columns(self) -> torch.Tensor:
        """Say which query sees which key of the prefix, (1, 1, queries, n).

        A prefix that moves the tokens has the positions before theirs, so it slides out of a
        window as they go on; one that does not move them has no position and stays.
        """
        queries, device = self.query.shape[2], self.key.device
        window = self.kwargs.get("sliding_window", getattr(self.module, "sliding_window", None))
        full = torch.ones(1, 1, queries, self.count, dtype=torch.bool, device=device)
        if not self.shift or not isinstance(window, int):
            return full
        if not self._is_causal and queries > 1:
            raise Inconclusive("where a prefix stands in a window of both sides is not defined")
        first = self.shift + self.key.shape[2] - queries
        at = torch.arange(first, first + queries, device=device)[:, None]
        return full & (at - torch.arange(self.count, device=device)[None, :] < window)


def _check_fit(prefix: torch.Tensor, own: torch.Tensor, what: str) -> None:
    if prefix.shape[1] != own.shape[1] or prefix.shape[3] != own.shape[3]:
        raise Inconclusive(
            f"the network's {what} are {list(own.shape)} (rows, heads, tokens, width), the"
            f" prefix's {list(prefix.shape)}"
        )
