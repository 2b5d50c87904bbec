"""The kinds of delta: one file per layout; all files of this folder are loaded.

A file that bears the name of a `peft_type` in small letters is asked first, and loaded alone, where a
config declares that type.

A file holds readers (`deltareg.delta.kind.KindReader`): classes, or values at module level. Another
distribution adds one under the entry-point group `deltareg.kinds`.
"""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pkgutil import iter_modules
from types import ModuleType
from typing import cast

from deltareg.delta.kind import KindReader
from deltareg.errors import Misconfigured

GROUP = "deltareg.kinds"
_METHODS = ("recognise", "parse")
_WORDS = ("name", "layout")


@cache
def all_kinds() -> dict[str, KindReader]:
    """Return all readers by layout.

    Raises:
        Misconfigured: Two read the same layout, or an entry point is no kind.
    """
    readers = [kind for file in _files() for kind in _kinds_of(import_module(f"{__name__}.{file}"))]
    readers += [_require_kind(point.value, point.load()) for point in _added_kinds()]
    kinds: dict[str, KindReader] = {}
    for kind in readers:
        if kinds.setdefault(kind.layout, kind) is not kind:
            raise Misconfigured(f"two kinds read {kind.layout}", fix="uninstall one of them")
    return kinds


def kinds_in(file: str) -> Sequence[KindReader]:
    """Return the readers that one file of this folder holds, and load no other.

    There are none if the folder lacks the file, or if another distribution adds kinds: those can
    only be known when all are loaded.
    """
    if file not in _files() or _added_kinds():
        return ()
    return _kinds_of(import_module(f"{__name__}.{file}"))


def kind_names() -> list[str]:
    """Return the names of all kinds, sorted."""
    return sorted({kind.name for kind in all_kinds().values()})


def holds_results(kind: str) -> bool:
    """Return whether a kind's tensors are the new weights themselves, bit for bit.

    Readers of such a kind declare `holds_results = True`.
    """
    readers = [reader for reader in all_kinds().values() if reader.name == kind]
    return bool(readers) and all(getattr(reader, "holds_results", False) for reader in readers)


@cache
def _added_kinds() -> Sequence[EntryPoint]:
    """What other distributions add: looked for once, as that reads a file of all that are installed."""
    return tuple(entry_points(group=GROUP))


@cache
def _files() -> Sequence[str]:
    return sorted(module.name for module in iter_modules(__path__))


def _kinds_of(module: ModuleType) -> list[KindReader]:
    """Return the readers that a module defines itself, without those that it imports."""
    classes = [v for v in vars(module).values() if isinstance(v, type)]
    own = [value for value in classes if value.__module__ == module.__name__]
    values = [v for v in vars(module).values() if not isinstance(v, (type, ModuleType))]
    return [cast("KindReader", value) for value in (*own, *values) if _is_kind(value)]


def _require_kind(where: str, value: object) -> KindReader:
    if _is_kind(value):
        return cast("KindReader", value)
    raise Misconfigured(f"{where} is no kind of delta", fix="uninstall what brought it")


def _is_kind(value: object) -> bool:
    words = all(isinstance(getattr(value, word, None), str) for word in _WORDS)
    return words and all(callable(getattr(value, method, None)) for method in _METHODS)
