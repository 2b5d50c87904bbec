"""Names of a package whose modules are loaded when one of them is first asked for (PEP 562).

What a package offers may be much more than what one program needs of it, and loading is most of the
time of a short command.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module


def load_name(package: str, homes: Mapping[str, Sequence[str]], name: str) -> object:
    """Give a name of a package out of the module that defines it.

    Args:
        package: The package.
        homes: By module within it, the names that it defines.
        name: The name.

    Raises:
        AttributeError: No module has it.
    """
    for module, names in homes.items():
        if name in names:
            return getattr(import_module(f"{package}.{module}"), name)
    raise AttributeError(f"module {package!r} has no attribute {name!r}")
