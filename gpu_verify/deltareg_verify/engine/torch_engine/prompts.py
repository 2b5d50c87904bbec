"""The tokens that a cache began with, for hooks that need the whole prompt.

In decoding with a cache a network is given its prompt once and then one token at a time.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from transformers import Cache

_NAMES = ("past_key_values", "cache")  # the second one is the newer


def cache_of(given: Callable[[str], object]) -> Cache | None:
    """Find the cache among a network's arguments or results.

    Args:
        given: Returns one by its name; None where there is none.
    """
    caches = (given(name) for name in _NAMES)
    return next((cache for cache in caches if isinstance(cache, Cache)), None)


class Prompts:
    """The tokens that each cache began with, for as long as it lives.

    A cache from elsewhere counts as new: a base's cache may go on with a delta.
    """

    def __init__(self) -> None:
        self._begun: WeakKeyDictionary[Cache, torch.Tensor] = WeakKeyDictionary()
        self._last: torch.Tensor | None = None

    def of(self, tokens: object, cache: Cache | None) -> torch.Tensor | None:
        """Return the prompt of a call.

        Args:
            tokens: The tokens of the call itself.
            cache: The cache that the call gets.
        """
        self._last = tokens if isinstance(tokens, torch.Tensor) else None
        if cache is not None and cache.get_seq_length() and cache in self._begun:
            return self._begun[cache]
        if cache is not None and self._last is not None:
            self._begun[cache] = self._last
        return self._last

    def end(self, cache: Cache | None) -> None:
        """Store the prompt of a finished call, by the cache that it may have created itself."""
        if cache is not None and self._last is not None:
            self._begun.setdefault(cache, self._last)
        self._last = None
