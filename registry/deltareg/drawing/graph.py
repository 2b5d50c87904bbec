"""A graph for people: nodes with words, and arrows between them. It can be drawn or written out."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a graph.

    Attributes:
        key: Its name in arrows.
        words: The text in it.
        note: A smaller text below that; empty for none.
        style: A class of the page's style sheet.
        to: The target of its link; empty for none.
        told: Its tooltip, if that is more than its words.
    """

    key: str
    words: str
    note: str = ""
    style: str = ""
    to: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Arrow:
    """An arrow from an origin to what was made of it, and how."""

    start: str
    end: str
    words: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes, and arrows between them; arrows only name existing nodes."""

    nodes: Sequence[Node]
    arrows: Sequence[Arrow]
