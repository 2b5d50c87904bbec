"""Merging: the changes of several deltas into one, by one of the `methods`."""

from pathlib import Path
from pkgutil import iter_modules


def method_names() -> list[str]:
    """Return the names of all methods, sorted, without loading any: a file has its method's name."""
    return sorted(module.name for module in iter_modules([str(Path(__file__).parent / "methods")]))
