"""A distribution of somebody else, as an installer leaves it: a module, and what it registers."""

import importlib
import sys


def install(folder, monkeypatch, name, source, points):
    """Write a module and its entry points, by group, where Python finds them; give the module."""
    (folder / f"{name}.py").write_text(source)
    metadata = folder / f"{name}-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    groups = "".join(f"[{group}]\n{lines}\n" for group, lines in points.items())
    (metadata / "entry_points.txt").write_text(groups)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module(name)
    monkeypatch.setitem(sys.modules, name, module)
    return module
