"""The client's use cases that compute, each loaded when it is first called.

They bring NumPy and the codecs, which reading a registry, or pulling what is here already, need not
wait for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deltareg.client import (
        behavior,
        bisect,
        bisect_by_hand,
        convert,
        diff,
        lint,
        materialize,
        merge,
        pull,
        push,
        push_base,
        reencode,
        suites,
        update,
    )

__all__ = [
    "behavior",
    "bisect",
    "bisect_by_hand",
    "convert",
    "diff",
    "lint",
    "materialize",
    "merge",
    "pull",
    "push",
    "push_base",
    "reencode",
    "suites",
    "update",
]


def __getattr__(name: str) -> object:
    """Load a module on first use."""
    if name in __all__:
        return import_module(f"deltareg.client.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
