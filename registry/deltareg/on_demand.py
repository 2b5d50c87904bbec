"""Names of a package whose modules are loaded on first access (PEP 562).

A package may offer much more than one program needs, and loading takes most of the time of a short
command.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module


def load_name(package: str, homes: Mapping[str, Sequence[str]], name: str) -> object:
    """Return a name of a package from the module that defines it.

    Args:
        package: The package.
        homes: The names that each module of the package defines, by module.
        name: The name.

    Raises:
        AttributeError: No module has it.
    """
    for module, names in homes.items():
        if name in names:
            return getattr(import_module(f"{package}.{module}"), name)
    raise AttributeError(f"module {package!r} has no attribute {name!r}")
