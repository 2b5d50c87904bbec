"""Keys and values put before those of an attention, and the effect on its arguments.

Prefixes are stored by the module object, as not every architecture numbers its layers. The mask is
widened to the left; where there is none and the attention is causal, one is made, because without
it the kernel aligns causality with the first key, which is wrong as soon as there are more keys
than queries.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import torch
from torch import nn

from deltareg.errors import Inconclusive
from deltareg_verify.engine.torch_engine.positions import bias_of_all_keys


class GateFactors(threading.local):
    """The factors of a gate in this thread's current forward, (b, 1 or 2); None without a gate."""

    value: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class KeyValues:
    """Keys and values to put before those of one attention.

    Attributes:
        keys: (heads, n, width).
        values: (heads, n, width).
        shift: By how many positions the real tokens move.
        bias_owner: The module that makes the relative position bias of this attention, if any.
        fired: Called whenever an attention uses it.
        factors: The factors of its gate, for each row one on keys and one on values.
    """

    keys: torch.Tensor
    values: torch.Tensor
    shift: int
    bias_owner: nn.Module | None
    fired: Callable[[], None]
    factors: GateFactors = field(default_factory=GateFactors)

    def for_rows(self, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values for a batch, (b, heads, n, width) each."""
        keys, values = (part.expand(rows, -1, -1, -1) for part in (self.keys, self.values))
        factors = self.factors.value
        if factors is None:
            return keys, values
        on_keys, on_values = factors[:, 0], factors[:, -1]
        return keys * on_keys.reshape(-1, 1, 1, 1), values * on_values.reshape(-1, 1, 1, 1)


_PREFIXES: WeakKeyDictionary[nn.Module, list[KeyValues]] = WeakKeyDictionary()


def prefixes_of(attention: nn.Module) -> Sequence[KeyValues]:
    """Return the prefixes of an attention; often none."""
    return _PREFIXES.get(attention, ())


@contextmanager
def put_before(attention: nn.Module, prefix: KeyValues) -> Generator[None]:
    """Put keys and values before those of one attention, after the prefixes that it has already."""
    _PREFIXES.setdefault(attention, []).append(prefix)
    try:
        yield
    finally:
        others = [other for other in _PREFIXES[attention] if other is not prefix]
        if others:
            _PREFIXES[attention] = others
        else:
            del _PREFIXES[attention]


@dataclass(frozen=True, slots=True)
class AttentionCall:
    """One call of an attention that has prefixes.

    Attributes:
        module: The attention.
        query: (b, heads, queries, width).
        key: (b, heads, keys, width), of the real tokens.
        prefixes: The prefixes before them.
        kwargs: The call's other arguments.
    """

    module: nn.Module
    query: torch.Tensor
    key: torch.Tensor
    prefixes: Sequence[KeyValues]
    kwargs: dict[str, object]

    @property
    def count(self) -> int:
        """How many keys come before the real ones."""
        return sum(prefix.keys.shape[1] for prefix in self.prefixes)

    @property
    def shift(self) -> int:
        """By how many positions the real tokens move."""
        return sum(prefix.shift for prefix in self.prefixes)

    def prepend_prefixes(self, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Put the prefixes before keys and values."""
        pairs = [prefix.for_rows(key.shape[0]) for prefix in self.prefixes]
        for keys, values in pairs:
            _check_fit(keys, key, "keys")
            _check_fit(values, value, "values")
        before = [torch.cat(parts, dim=2) for parts in zip(*pairs, strict=True)]
        return (torch.cat([before[0].to(key.dtype), key], dim=2), torch.cat([before[1].to(value.dtype), value], dim=2))

    def mask(self, mask: torch.Tensor | None) -> torch.Tensor | None:
        """Widen the mask, so that every query sees the prefix; None still means no mask."""
        if mask is None and not self._is_causal:
            return None
        mask = self._causal() if mask is None else mask
        columns = self._columns().expand(*mask.shape[:-1], self.count)
        if mask.dtype != torch.bool:
            columns = torch.zeros_like(columns, dtype=mask.dtype)
        return torch.cat([columns, mask], dim=-1)

    def arguments(self) -> dict[str, object]:
        """Return the other arguments, with the position bias of the prefix's keys."""
        bias = self.kwargs.get("position_bias")
        if not isinstance(bias, torch.Tensor):
            return self.kwargs
        owner = self.prefixes[0].bias_owner
        return {**self.kwargs, "position_bias": bias_of_all_keys(owner, bias, self.count)}

    @property
    def _is_causal(self) -> bool:
        is_causal = self.kwargs.get("is_causal")
        own = getattr(self.module, "is_causal", True)
        return bool(own if is_causal is None else is_causal) and self.query.shape[2] > 1

    def _causal(self) -> torch.Tensor:
        queries, keys = self.query.shape[2], self.key.shape[2]
        full = torch.ones(1, 1, queries, keys, dtype=torch.bool, device=self.key.device)
        return full.tril(keys - queries)

    def _columns(self) -> torch.Tensor:
        """Return a mask that lets every query see every key of the prefix, (1, 1, queries, n)."""
        window = self.kwargs.get("sliding_window", getattr(self.module, "sliding_window", None))
        if self.shift and window is not None:
            raise Inconclusive("how far a prefix is from the tokens of an encoder is not defined")
        shape = (1, 1, self.query.shape[2], self.count)
        return torch.ones(shape, dtype=torch.bool, device=self.key.device)


def _check_fit(prefix: torch.Tensor, own: torch.Tensor, what: str) -> None:
    if prefix.shape[1] != own.shape[1] or prefix.shape[3] != own.shape[3]:
        raise Inconclusive(
            f"the network's {what} are {list(own.shape)} (rows, heads, tokens, width), the"
            f" prefix's {list(prefix.shape)}"
        )
