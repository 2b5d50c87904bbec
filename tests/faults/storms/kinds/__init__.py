"""What breaks, a file a fault: `strike(site, chance)` breaks something, waits, heals it and says what it was.

A file has `strike` and nothing else is asked of it; it is found by the folder.
"""

import importlib
from pathlib import Path


def all_kinds():
    """Give every fault by its name."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")
    return {name: importlib.import_module(f"{__name__}.{name}").strike for name in names}
