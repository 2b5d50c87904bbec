"""The texts of the second set: what the installed packages say of themselves, read without import.

READMEs come from the packages' metadata, docstrings and functions from their sources. They are read
once and kept in one JSON file, so that a set that was kept stays what it was when a package moves.
"""

import ast
import hashlib
import json
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from tests.planted.more.subject import Part

_FILE = "texts.json"
_FILES_OF_A_PACKAGE = 140
_MOST_BYTES = 120_000
PACKAGES = ("stdlib", "scipy", "torch", "pandas", "httpx", "jinja2", "numpy", "sqlalchemy", "sklearn", "transformers")


@dataclass(frozen=True, slots=True)
class Documented:
    """A function or class that says what it is.

    Attributes:
        package: Where it is from.
        name: Its dotted name.
        says: The first line of its docstring.
        whole: The docstring in one line.
    """

    package: str
    name: str
    says: str
    whole: str


@dataclass(frozen=True, slots=True)
class Texts:
    """All texts.

    Attributes:
        readme: Paragraphs of READMEs.
        documented: What has a docstring.
        code: Functions of the standard library.
        tested: Functions of test files.
    """

    readme: tuple[str, ...]
    documented: tuple[Documented, ...]
    code: tuple[str, ...]
    tested: tuple[str, ...]


@cache
def read_texts(kept: Path) -> Texts:
    """Read the texts that were kept, or gather and keep them."""
    path = kept / _FILE
    if not path.exists():
        kept.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_gathered(), indent=0))
    found = json.loads(path.read_text())
    documented = tuple(Documented(*row) for row in found["documented"])
    return Texts(tuple(found["readme"]), documented, tuple(found["code"]), tuple(found["tested"]))


def part_of(text: str) -> Part:
    """Say which part a text belongs to: six of ten train, two each are for suites and measures."""
    number = hashlib.sha256(text.encode()).digest()[0] % 10
    return "train" if number < 6 else "suite" if number < 8 else "measure"


def _gathered() -> dict[str, object]:
    documented: list[tuple[str, str, str, str]] = []
    for package in PACKAGES:
        for path in _sources(package):
            documented += _documented(package, path)
    return {
        "readme": sorted(_paragraphs()),
        "documented": sorted(set(documented)),
        "code": sorted({text for path in _sources("stdlib") for text in _functions(path)}),
        "tested": sorted({text for path in _sources("numpy/tests") for text in _functions(path)}),
    }


def _paragraphs() -> Iterator[str]:
    for one in distributions():
        name = str(one.metadata["Name"]).lower()
        if name == "deltareg":  # its README moves with every commit
            continue
        described = one.metadata.get_payload()  # type: ignore[attr-defined]  # an email message
        for block in str(described).split("\n\n"):
            text = " ".join(block.split())
            if 60 <= len(text) <= 400 and text[0].isalpha() and "http" not in text:
                yield text


def _sources(package: str) -> list[Path]:
    paths = sysconfig.get_paths()
    name, _, only = package.partition("/")
    root = Path(paths["stdlib"]) if name == "stdlib" else Path(paths["purelib"]) / name
    pattern = "*.py" if name == "stdlib" else "**/*.py"
    found = [path for path in root.glob(pattern) if path.stat().st_size < _MOST_BYTES]
    found = [path for path in found if ("tests" in path.parts) == bool(only)]
    order = sorted(found, key=lambda path: hashlib.sha256(path.name.encode()).hexdigest())
    return order[:_FILES_OF_A_PACKAGE]


def _documented(package: str, path: Path) -> Iterator[tuple[str, str, str, str]]:
    for node in _nodes(path):
        said = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
        whole = " ".join((ast.get_docstring(node) or "").split())[:300]
        if 25 <= len(said) <= 110 and said.isascii() and not node.name.startswith("_"):
            yield package, f"{path.stem}.{node.name}", said, whole


def _functions(path: Path) -> Iterator[str]:
    source = path.read_text(errors="ignore")
    for node in _nodes(path):
        text = ast.get_source_segment(source, node) if isinstance(node, ast.FunctionDef) else None
        if text and 80 <= len(text) <= 500 and text.isascii():
            yield text


def _nodes(path: Path) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    try:
        tree = ast.parse(path.read_text(errors="ignore"))
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node
