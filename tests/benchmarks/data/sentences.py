"""Texts to train on that every machine has: what the standard library says of its functions."""

import ast
import sysconfig
from functools import cache
from pathlib import Path

import numpy as np

_SHORTEST = 20


@cache
def pairs() -> tuple[tuple[str, str], ...]:
    """Give names of functions and classes, as words, with the first lines of their docstrings."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    files = sorted([*folder.glob("*.py"), *folder.glob("[a-z]*/*.py")])
    return tuple(dict.fromkeys(pair for path in files for pair in _pairs_of(path)))


def batches(count: int, *, size: int, seed: int) -> list[list[tuple[str, str]]]:
    """Draw batches of pairs; no pair comes twice before all have come."""
    chance, found = np.random.default_rng(seed), pairs()
    drawn, queue = [], list[int]()
    for _ in range(count):
        if len(queue) < size:
            queue = list(chance.permutation(len(found)))
        drawn.append([found[queue.pop()] for _ in range(size)])
    return drawn


def _pairs_of(path: Path):
    if "site-packages" in path.parts or path.parent.name in {"test", "idlelib", "lib2to3"}:
        return
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            first = (ast.get_docstring(node) or "").partition("\n")[0]
            if len(first) >= _SHORTEST:
                yield f"{path.stem} {node.name}".replace("_", " ").strip(), first
