"""Packages whose modules are loaded on first use offer what they say they do.

Each names its parts for type checkers, for who loads them, and as what is offered. It is held here
that the three agree and that nothing is loaded early.
"""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("deltareg.client", "deltareg.codec", "deltareg.delta", "deltareg.testing", "deltareg.wire")


def for_type_checkers(package: str) -> dict[str, str]:
    """Give the module that each name is imported from where only type checkers look."""
    module = importlib.import_module(package)
    block = next(node for node in source_of(package).body if isinstance(node, ast.If))
    seen = {
        name: node.module.removeprefix(f"{package}.")
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module is not None
        for alias in node.names
        for name in (defined_in(node.module) if alias.name == "*" else [alias.name])
    }
    return {name: home for name, home in seen.items() if name in module.__all__}


def defined_in(module: str) -> Iterator[str]:
    """Give the names that a module makes itself."""
    for node in source_of(module).body:
        match node:
            case ast.ClassDef() | ast.FunctionDef():
                yield node.name
            case ast.Assign():
                yield from (target.id for target in node.targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(name)):
                yield name
            case _:
                pass


def source_of(module: str) -> ast.Module:
    """Read the source of a module."""
    return ast.parse(Path(str(importlib.import_module(module).__file__)).read_text())


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_loaded_is_what_type_checkers_see(package: str):
    module = importlib.import_module(package)
    loaded = {name: home for home, names in module._HOMES.items() for name in names}

    assert loaded == for_type_checkers(package)


@pytest.mark.parametrize("package", PACKAGES)
def test_all_that_is_offered_is_there(package: str):
    module = importlib.import_module(package)

    assert set(module.__all__) >= {name for names in module._HOMES.values() for name in names}
    for name in module.__all__:
        assert getattr(module, name) is not None


@pytest.mark.parametrize("package", PACKAGES)
def test_a_name_that_is_not_there_is_missed_as_in_any_module(package: str):
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        getattr(importlib.import_module(package), "nothing")  # noqa: B009 - mypy knows better


def test_a_client_loads_the_parts_that_it_is_asked_for():
    program = (
        "import sys; from deltareg import Client; client = Client('https://registry');"
        "client.versions; print(*sorted(n for n in sys.modules if n.startswith('deltareg.')))"
    )

    listed = subprocess.check_output([sys.executable, "-c", program], text=True)

    loaded = listed.split()
    assert "deltareg.client.resources.versions" in loaded
    assert {"deltareg.client.resources.webhooks", "deltareg.wire.trail"}.isdisjoint(loaded)
