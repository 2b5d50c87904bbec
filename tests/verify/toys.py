"""Hooks for tests: made of a function, and one that only keeps what it sees."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deltareg.delta.kind import ActivationHook, Tap


@dataclass
class Doing:
    """A hook made of a function of the value and of what is seen."""

    function: Callable[..., Any]

    def apply(self, value, seen, ops):
        return self.function(value, seen)


@dataclass
class Keeping:
    """A hook that changes nothing and keeps what it was given."""

    values: list[Any] = field(default_factory=list)
    arrays: list[Mapping[str, Any]] = field(default_factory=list)

    def apply(self, value, seen, ops):
        self.values.append(value)
        self.arrays.append(dict(seen.arrays))
        return value


def hook(doing, module, when="after", **taps: Tap):
    """Make an effect of a function or a hook."""
    made = Doing(doing) if callable(doing) else doing
    return ActivationHook(module, when, taps, {}, made)
