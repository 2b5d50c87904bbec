"""The merge methods: one file each, found by looking into this folder.

A file holds one `MergeMethod` at module level, and no file imports another.
"""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from deltareg.delta.merge.method import FactorMethod, MergeMethod, ValueMethod
from deltareg.errors import InvalidInput


@cache
def all_methods() -> dict[str, MergeMethod]:
    """Give every method by its name, in order."""
    modules = sorted(module.name for module in iter_modules(__path__))
    values = [v for name in modules for v in vars(import_module(f"{__name__}.{name}")).values()]
    return {value.name: value for value in values if isinstance(value, ValueMethod | FactorMethod)}


def method_named(name: str) -> MergeMethod:
    """Find a method.

    Raises:
        InvalidInput: There is none of this name.
    """
    found = all_methods().get(name)
    if found is None:
        raise InvalidInput(f"no merge method {name!r}", fix=f"use {', '.join(all_methods())}")
    return found
