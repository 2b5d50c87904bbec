"""The layered layout of a graph: origins stand left of what was made of them.

After Sugiyama, Tagawa and Toda 1981: arrows that close a cycle are reversed, each node comes one
layer after the last node that leads to it, an arrow over several layers gets a bend in each, and
the order within layers follows the mean of the neighbours. The same graph always has the same
layout.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

_SWEEPS = 4
_Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class GraphLayout:
    """The positions of a graph's nodes and arrows.

    Attributes:
        layers: The number of layers.
        places: By node its layer, and its height in steps of one node.
        bends: By arrow the heights at which it passes the layers between its ends, in the order
            from its start.
    """

    layers: int
    places: Mapping[str, tuple[int, float]]
    bends: Mapping[_Pair, Sequence[tuple[int, float]]]


def lay_out(keys: Sequence[str], arrows: Iterable[_Pair]) -> GraphLayout:
    """Lay out a graph.

    Args:
        keys: The nodes; earlier ones are on top if nothing else decides.
        arrows: Pairs of nodes; an arrow from a node to itself is ignored.
    """
    pairs = list(dict.fromkeys(pair for pair in arrows if pair[0] != pair[1]))
    turned = _break_cycles(keys, pairs)
    level = _levels(keys, turned.values())
    rows: list[list[str]] = [[] for _ in range(max(level.values(), default=-1) + 1)]
    for key in keys:
        rows[level[key]].append(key)
    chains: dict[_Pair, list[str]] = {}
    before: dict[str, list[str]] = defaultdict(list)
    after: dict[str, list[str]] = defaultdict(list)
    for pair, (first, last) in turned.items():
        chains[pair] = _chain(pair, range(level[first] + 1, level[last]), rows)
        path = [first, *chains[pair], last]
        for left, right in pairwise(path):
            before[right].append(left)
            after[left].append(right)
    _order(rows, before, after)
    heights = _heights(rows, before, after)
    bends: dict[_Pair, list[tuple[int, float]]] = {}
    for pair, chain in chains.items():
        begins = level[turned[pair][0]] + 1
        points = [(begins + n, heights[bend]) for n, bend in enumerate(chain)]
        bends[pair] = points if turned[pair] == pair else points[::-1]
    return GraphLayout(len(rows), {key: (level[key], heights[key]) for key in keys}, bends)


def _break_cycles(keys: Sequence[str], arrows: Sequence[_Pair]) -> dict[_Pair, _Pair]:
    """Return each arrow as used for layering: reversed if it closes a cycle."""
    following: dict[str, list[str]] = defaultdict(list)
    for start, end in arrows:
        following[start].append(end)
    closing: set[_Pair] = set()
    done: set[str] = set()
    open_: set[str] = set()
    for root in keys:
        path = [(root, iter(following[root]))] if root not in done else []
        open_.update(key for key, _ in path)
        while path:
            key, rest = path[-1]
            child = next(rest, None)
            if child is None:
                path.pop()
                open_.discard(key)
                done.add(key)
            elif child in open_:
                closing.add((key, child))
            elif child not in done:
                open_.add(child)
                path.append((child, iter(following[child])))
    return {pair: (pair[1], pair[0]) if pair in closing else pair for pair in arrows}


def _levels(keys: Sequence[str], arrows: Iterable[_Pair]) -> dict[str, int]:
    """Put each node one layer after the last node that leads to it."""
    following: dict[str, list[str]] = defaultdict(list)
    waits = dict.fromkeys(keys, 0)
    for start, end in set(arrows):
        following[start].append(end)
        waits[end] += 1
    level = {key: 0 for key in keys if not waits[key]}
    ready = list(level)
    for key in ready:
        for child in following[key]:
            level[child] = max(level.get(child, 0), level[key] + 1)
            waits[child] -= 1
            if not waits[child]:
                ready.append(child)
    return level


def _chain(pair: _Pair, between: range, rows: list[list[str]]) -> list[str]:
    """Add a bend in every layer that an arrow passes."""
    bends = [f"\0{pair[0]}\0{pair[1]}\0{n}" for n in between]
    for n, bend in zip(between, bends, strict=True):
        rows[n].append(bend)
    return bends


def _order(rows: list[list[str]], before: Mapping[str, list[str]], after: Mapping[str, list[str]]) -> None:
    """Order each layer by the mean of the neighbours, in alternating directions."""
    place = {key: n for row in rows for n, key in enumerate(row)}
    for sweep in range(_SWEEPS):
        neighbours, order = (before, rows[1:]) if sweep % 2 == 0 else (after, rows[-2::-1])
        for row in order:
            row.sort(key=lambda key: _middle(neighbours.get(key, ()), place, place[key]))
            place.update((key, n) for n, key in enumerate(row))


def _middle(keys: Sequence[str], place: Mapping[str, float], otherwise: float) -> float:
    return sum(place[key] for key in keys) / len(keys) if keys else otherwise


def _heights(
    rows: Sequence[Sequence[str]], before: Mapping[str, list[str]], after: Mapping[str, list[str]]
) -> dict[str, float]:
    """Move each node as near to its neighbours as the order in its layer allows."""
    height = {key: float(n) for row in rows for n, key in enumerate(row)}
    for sweep in range(_SWEEPS):
        neighbours, order = (before, rows) if sweep % 2 == 0 else (after, rows[::-1])
        for row in order:
            heights = [_middle(neighbours.get(key, ()), height, height[key]) for key in row]
            height.update(zip(row, _apart(heights), strict=True))
    least = min(height.values(), default=0.0)
    return {key: value - least for key, value in height.items()}


def _apart(wanted: Sequence[float]) -> list[float]:
    """Return heights in the same order, at least one step apart, with the least squared change.

    Pool adjacent violators, on heights minus their own index.
    """
    pools: list[tuple[float, int]] = []  # the sum of a pool, and how many are in it
    for n, value in enumerate(wanted):
        total, count = value - n, 1
        while pools and pools[-1][0] / pools[-1][1] >= total / count:
            other, more = pools.pop()
            total, count = total + other, count + more
        pools.append((total, count))
    means = [total / count for total, count in pools for _ in range(count)]
    return [mean + n for n, mean in enumerate(means)]
