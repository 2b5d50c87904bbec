"""The kinds of delta: one file each, found by looking into this folder.

Another distribution adds a kind under the entry-point group `deltareg.kinds`.
"""

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from types import ModuleType
from typing import cast

from deltareg.errors import Misconfigured
from deltareg.kind import DeltaKind

GROUP = "deltareg.kinds"


@cache
def all_kinds() -> dict[str, type[DeltaKind]]:
    """Give every kind by its name.

    Raises:
        Misconfigured: Two kinds share a name, or an entry point is no kind.
    """
    modules = sorted(module.name for module in iter_modules(__path__))
    found = [kind for name in modules for kind in _kinds_of(import_module(f"{__name__}.{name}"))]
    found += [_loaded(point.value, point.load()) for point in entry_points(group=GROUP)]
    kinds: dict[str, type[DeltaKind]] = {}
    for kind in found:
        if kinds.setdefault(kind.name, kind) is not kind:
            raise Misconfigured(f"two kinds are called {kind.name}", fix="uninstall one of them")
    return kinds


def _kinds_of(module: ModuleType) -> list[type[DeltaKind]]:
    own = [
        v for v in vars(module).values() if isinstance(v, type) and v.__module__ == module.__name__
    ]
    return [cast("type[DeltaKind]", value) for value in own if _is_kind(value)]


def _loaded(where: str, value: object) -> type[DeltaKind]:
    if isinstance(value, type) and _is_kind(value):
        return cast("type[DeltaKind]", value)
    raise Misconfigured(f"{where} is no kind of delta", fix="uninstall what brought it")


def _is_kind(value: type) -> bool:
    return isinstance(getattr(value, "name", None), str) and all(
        callable(getattr(value, method, None)) for method in ("recognise", "parse", "effects")
    )
