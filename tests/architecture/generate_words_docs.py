"""Write `docs/words.md`, the lists of words; `make docs` runs this with `--write`."""

import ast
from dataclasses import dataclass
from itertools import pairwise

from tests.architecture.generated import compare_or_write
from tests.architecture.tree import PACKAGES, REPOSITORY

SOURCE = PACKAGES["deltareg"] / "words.py"
PAGE = REPOSITORY / "docs" / "words.md"
INTRODUCTION = """\
# Lists of words

What a column, a message, a choice of a command or a page says by one of a few words, says it by a
list that stands here. What the things are is in the [glossary](glossary.md). This page is written
from `deltareg/words.py` by `make docs`; a test compares the two.

| list | what it says | words |
|---|---|---|
"""


@dataclass(frozen=True)
class WordList:
    """A list of words: its name, what it says, its words in their order."""

    name: str
    about: str
    words: tuple[str, ...]


def word_lists() -> list[WordList]:
    """Read the lists in their order."""
    lines = ast.parse(SOURCE.read_text()).body
    return [
        WordList(target.id, value_of(told).partition("\n")[0], words_in(line.value))
        for line, told in pairwise(lines)
        if isinstance(line, ast.Assign) and isinstance(target := line.targets[0], ast.Name)
    ]


def words_in(literal: ast.expr) -> tuple[str, ...]:
    """Give the words of a `Literal`."""
    return tuple(
        node.value for node in ast.walk(literal) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def value_of(node: ast.stmt) -> str:
    """Give the text that stands as a statement; a list without one has nothing to say."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return str(node.value.value)
    return ""


def generate() -> str:
    """Give the text of the page."""
    return INTRODUCTION + "".join(map(row, word_lists()))


def row(each: WordList) -> str:
    """Write the row of a list; where nothing may be said, that is no word."""
    told = ", ".join(f"`{word}`" for word in each.words if word)
    return f"| {each.name} | {each.about} | {told} |\n"


if __name__ == "__main__":
    compare_or_write(PAGE, generate)
