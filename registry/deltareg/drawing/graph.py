"""A graph as people see it: nodes with words, arrows between them. It is drawn, or written out."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Node:
    """Something that arrows lead from and to.

    Attributes:
        key: What arrows call it.
        words: What is written in it.
        note: What stands below that, smaller; empty for nothing.
        style: What it looks like, a class of the page's style sheet.
        to: Where it leads; empty for nowhere.
        told: What it says to those who come there, where that is more than its words.
    """

    key: str
    words: str
    note: str = ""
    style: str = ""
    to: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Arrow:
    """An arrow from what was there before to what was made of it, and how."""

    start: str
    end: str
    words: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes, and arrows between them; what an arrow names is among the nodes."""

    nodes: Sequence[Node]
    arrows: Sequence[Arrow]
