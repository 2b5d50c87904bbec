"""A graph as an SVG: boxes in layers from left to right, each a link, and arrows between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from deltareg.drawing.graph import Graph, Node
from deltareg.drawing.layers import GraphLayout, lay_out
from deltareg.drawing.strokes import Point
from deltareg.drawing.wording import cut

_WIDTH, _HEIGHT = 200, 42
_STEP_X, _STEP_Y = 256, 54
_EDGE = 8
_CHARS = 27
_ROUND = {"base": 0, "channel": 21}


@dataclass(frozen=True, slots=True)
class NodeBox:
    """A placed node: its upper left corner, and the radius of its corners."""

    node: Node
    x: float
    y: float
    radius: int
    words: str
    note: str


def graph_svg(graph: Graph, label: str) -> str:
    """Draw a graph, with a label for people who cannot see it."""
    from deltareg.drawing.rendering import render  # what a graph is made of needs no templates

    pairs = [(arrow.start, arrow.end) for arrow in graph.arrows]
    layout = lay_out([node.key for node in graph.nodes], pairs)
    boxes = [_box(node, layout) for node in graph.nodes]
    lowest = max((y for _, y in _spots(layout)), default=0.0)
    size = (layout.layers * _STEP_X - (_STEP_X - _WIDTH) + 2 * _EDGE, lowest + _HEIGHT + _EDGE)
    lines = [stroke for pair in layout.bends for stroke in _strokes(pair, layout)]
    tips = [_tip(pair, layout) for pair in layout.bends]
    return render(
        "graph.svg.jinja", size=size, label=label, lines=lines, tips=tips, boxes=boxes, width=_WIDTH, height=_HEIGHT
    )


def _box(node: Node, layout: GraphLayout) -> NodeBox:
    x, y = _corner(layout.places[node.key])
    radius = _ROUND.get(node.style.partition(" ")[0], 7)
    return NodeBox(node, x, y, radius, cut(node.words, _CHARS), cut(node.note, _CHARS + 3))


def _corner(place: tuple[int, float]) -> Point:
    return _EDGE + place[0] * _STEP_X, _EDGE + place[1] * _STEP_Y


def _spots(layout: GraphLayout) -> list[Point]:
    bends = [bend for passed in layout.bends.values() for bend in passed]
    return [_corner(place) for place in [*layout.places.values(), *bends]]


def _strokes(pair: tuple[str, str], layout: GraphLayout) -> list[str]:
    """Return an arrow as curves from layer to layer, straight through the layers in between."""
    points = _points(pair, layout)
    return [_curve(*ends) for ends in pairwise(points)]


def _curve(start: Point, end: Point) -> str:
    middle = (start[0] + end[0]) / 2
    return (
        f"M{start[0]:.0f} {start[1]:.1f}"
        f"C{middle:.0f} {start[1]:.1f} {middle:.0f} {end[1]:.1f} {end[0]:.0f} {end[1]:.1f}"
    )


def _points(pair: tuple[str, str], layout: GraphLayout) -> Sequence[Point]:
    start, end = (layout.places[key] for key in pair)
    is_back = start[0] > end[0]
    points: list[Point] = []
    for n, place in enumerate([start, *layout.bends[pair], end]):
        x, y = _corner(place)
        sides = (x + _WIDTH, x) if is_back else (x, x + _WIDTH)
        middle = y + _HEIGHT / 2
        passed = [(side, middle) for side in sides]
        points += passed[1:] if n == 0 else passed
    return points[:-1]


def _tip(pair: tuple[str, str], layout: GraphLayout) -> str:
    start, end = (layout.places[key] for key in pair)
    x, y = _points(pair, layout)[-1]
    back = 7 if start[0] > end[0] else -7
    return f"M{x + back:.0f} {y - 4:.1f}L{x:.0f} {y:.1f}L{x + back:.0f} {y + 4:.1f}z"
