"""All targets: each module of the folder `targets` has some."""

import importlib
import pkgutil

from tests.fuzz import targets as folder
from tests.fuzz.target import Target


def targets() -> dict[str, Target]:
    """Return the targets by name."""
    found: dict[str, Target] = {}
    for module in sorted(each.name for each in pkgutil.iter_modules(folder.__path__)):
        for target in importlib.import_module(f"{folder.__name__}.{module}").TARGETS:
            assert target.name not in found, target.name
            found[target.name] = target
    return found
