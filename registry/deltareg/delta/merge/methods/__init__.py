"""The merge methods: one file each, found by looking into this folder.

A file holds one `MergeMethod` at module level, under its own name; no file imports another.
"""

from functools import cache
from importlib import import_module
from types import ModuleType

from deltareg.delta.merge import method_names
from deltareg.delta.merge.method import FactorMethod, MergeMethod, ValueMethod
from deltareg.errors import InvalidInput


@cache
def all_methods() -> dict[str, MergeMethod]:
    """Return all methods by name, sorted."""
    return {name: _method_of(import_module(f"{__name__}.{name}"), name) for name in method_names()}


def method_named(name: str) -> MergeMethod:
    """Return a method by name.

    Raises:
        InvalidInput: There is no method of this name.
    """
    method = all_methods().get(name)
    if method is None:
        raise InvalidInput(f"no merge method {name!r}", fix=f"use {', '.join(all_methods())}")
    return method


def _method_of(module: ModuleType, name: str) -> MergeMethod:
    methods = [v for v in vars(module).values() if isinstance(v, ValueMethod | FactorMethod)]
    assert [method.name for method in methods] == [name], f"{name}.py holds one method, {name!r}"
    return methods[0]
