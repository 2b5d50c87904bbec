"""The kinds of operation: one file each, found by looking into this folder."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from deltareg.errors import NotFound
from deltareg.service.operations.operation import Operation
from deltareg.words import OperationName


@cache
def all_operations() -> Mapping[OperationName, Operation]:
    """Return every kind of operation by its name, in order."""
    names = sorted(module.name for module in iter_modules(__path__, f"{__name__}."))
    found = [value for name in names for value in vars(import_module(name)).values()]
    return {operation.kind: operation for operation in found if isinstance(operation, Operation)}


def find_operation(kind: str) -> Operation:
    """Find a kind of operation.

    Raises:
        NotFound: There is none of this name; names those that there are.
    """
    for operation in all_operations().values():
        if operation.kind == kind:
            return operation
    raise NotFound(f"there is no operation {kind[:40]!r}", fix=f"use {', '.join(all_operations())}")
