"""Pairs of a function's name and its summary, read from the source that ships with Python.

A small, honest retrieval task that needs no download: given `shutil copy tree`, find "Recursively
copy a directory tree …" among two hundred summaries. Sources are parsed, never imported.
"""

import ast
import random
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HELD_OUT = 200
TRAINING = 1_400
_NOT_READ = {"__pycache__", "ensurepip", "idlelib", "lib2to3", "site-packages", "test", "tests", "turtledemo"}
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and the text that answers it.

    Attributes:
        name: Words of the module's and the function's name.
        summary: First paragraph of its docstring, its own name masked.
    """

    name: str
    summary: str


@dataclass(frozen=True, slots=True)
class Task:
    """The retrieval task.

    Attributes:
        training: What may be trained on.
        held_out: What is scored; no summary is in both.
    """

    training: tuple[Pair, ...]
    held_out: tuple[Pair, ...]


def read_task(seed: int = 0) -> Task:
    """Collect the pairs; the same Python and seed give the same task."""
    files = sorted(_sources(Path(sysconfig.get_path("stdlib"))))
    chance = random.Random(seed)
    chance.shuffle(files)
    found: dict[str, Pair] = {}
    for path, module in files:
        for pair in _pairs(path, module):
            found.setdefault(pair.summary, pair)
        if len(found) >= HELD_OUT + TRAINING:
            break
    pairs = list(found.values())[: HELD_OUT + TRAINING]
    chance.shuffle(pairs)
    return Task(tuple(pairs[HELD_OUT:]), tuple(pairs[:HELD_OUT]))


def _sources(root: Path) -> Iterator[tuple[Path, str]]:
    for path in root.rglob("*.py"):
        below = path.relative_to(root)
        if not _NOT_READ & set(below.parts):
            yield path, " ".join(below.with_suffix("").parts).removesuffix(" __init__")


def _pairs(path: Path, module: str) -> Iterator[Pair]:
    try:
        tree = ast.parse(path.read_text("utf-8"))
    except (SyntaxError, ValueError):  # a file kept broken on purpose, or in another encoding
        return
    for node in ast.walk(tree):
        if isinstance(node, _Definition) and not node.name.startswith("_"):
            summary = _summary(node)
            if 40 <= len(summary) <= 300:
                yield Pair(f"{_words(module)} {_words(node.name)}", summary)


def _summary(node: _Definition) -> str:
    paragraph = (ast.get_docstring(node) or "").split("\n\n")[0]
    return " ".join(paragraph.replace(node.name, "it").split())


def _words(name: str) -> str:
    return " ".join(re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_+", " ", name).lower().split())
