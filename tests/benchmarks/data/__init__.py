"""The data of the benchmark, one file for what comes from one model, found by looking.

A file holds `SETS`, a tuple of `Recipe`, in the order of their columns.
"""

from importlib import import_module
from pkgutil import iter_modules

from tests.benchmarks.data.recipe import ALONE, BF16, WIDER, Recipe, Size

__all__ = ["GROUPS", "Recipe", "Size", "all_sets"]

GROUPS = (BF16, WIDER, ALONE)


def all_sets() -> dict[str, Recipe]:
    """Give every recipe by name, in the order of the tables."""
    modules = sorted(module.name for module in iter_modules(__path__))
    found: list[Recipe] = [
        recipe for name in modules for recipe in getattr(import_module(f"{__name__}.{name}"), "SETS", ())
    ]
    return {one.name: one for one in sorted(found, key=lambda one: GROUPS.index(one.group))}
