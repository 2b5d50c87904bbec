"""Lineage: the parent edges between versions, as a graph that can be walked both ways."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edge:
    """A parent edge: `child` was made from `parent`.

    Attributes:
        child: The newer thing, as shown (`ns/name:v3`).
        parent: Its origin: a version, or a base.
        relation: `base`, `parent` or `merged from`.
    """

    child: str
    parent: str
    relation: str


def walk(start: str, neighbours: Callable[[str], Iterable[Edge]], *, up: bool, depth: int) -> list[Edge]:
    """Collect the edges reachable from `start`, nearest first, each once.

    Args:
        start: The node to begin at.
        neighbours: Returns the edges of a node in the given direction.
        up: Whether to walk to parents; otherwise to children.
        depth: The most steps to take.
    """
    collected: dict[Edge, None] = {}
    visited = {start}
    frontier = [start]
    for _ in range(depth):
        reached: list[str] = []
        for node in frontier:
            for edge in neighbours(node):
                collected.setdefault(edge)
                other = edge.parent if up else edge.child
                if other not in visited:
                    visited.add(other)
                    reached.append(other)
        frontier = reached
    return list(collected)
