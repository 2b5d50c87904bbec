"""A module says one thing, in a file with a name that says it."""

import ast
import re

import pytest

from tests.architecture.tree import PACKAGES, REPOSITORY, SOURCE_ROOTS, modules

LONGEST = 400
# To parse all modules takes seconds.
NEAR_AN_EXCEPTION = re.compile(r"class \w+\([^)]*(Error|Exception|Warning|KeyboardInterrupt)")
NAMELESS = {"util", "utils", "helper", "helpers", "common", "base", "manager", "managers", "misc"}


@pytest.mark.parametrize("package", PACKAGES)
def test_each_source_root_holds_its_package(package):
    assert (PACKAGES[package] / "__init__.py").is_file()


@pytest.mark.parametrize("root", SOURCE_ROOTS)
def test_a_source_root_holds_nothing_else(root):
    found = {path.name for path in (REPOSITORY / root).iterdir() if not path.name.startswith(".")}

    assert found == {path.name for path in PACKAGES.values() if path.parent.name == root}


def test_no_module_is_longer_than_400_lines():
    lengths = {path: len((REPOSITORY / path).read_text().splitlines()) for path in modules()}

    assert {str(path): n for path, n in lengths.items() if n > LONGEST} == {}


def test_no_module_has_a_name_that_says_nothing():
    """A command's file has the command's name, so `base` is one there."""
    named = {
        str(path) for path in modules() if {path.stem, *path.parts} & NAMELESS and path.parent.parent.name != "commands"
    }

    assert named == set()


def test_every_exception_lives_in_one_tree():
    """A class that ends in an exception's base stands in `errors.py`, where codes are mapped, below its root."""
    strays = {
        f"{path}: {node.name}"
        for path in modules()
        if path.name not in {"errors.py", "root_error.py"} and NEAR_AN_EXCEPTION.search((REPOSITORY / path).read_text())
        for node in ast.walk(ast.parse((REPOSITORY / path).read_text()))
        if isinstance(node, ast.ClassDef) and any(is_exception(b) for b in node.bases)
    }

    assert strays == set()


def is_exception(node):
    """Tell whether a base class is an exception, by its name."""
    name = getattr(node, "attr", getattr(node, "id", ""))
    return name.endswith(("Error", "Exception")) or name in {"Warning", "KeyboardInterrupt"}


def test_every_package_is_typed():
    untyped = [name for name, folder in PACKAGES.items() if not (folder / "py.typed").is_file()]

    assert untyped == []
