"""Maps of layers and modules: where a delta has tensors, and where two deltas differ.

The rows are modules and the columns are layers; modules outside of any list of layers have a column
of their own. The thousands of modules of a network with experts are one module here.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from deltareg.delta.injection import split_path
from deltareg.drawing.strokes import BoxMark, Mark, draw_text, svg
from deltareg.identity.manifest import Manifest, ManifestTensor
from deltareg.wire import Answer

State = Literal["same", "changed", "added", "removed", "neither"]
Odd = Literal["same", "first", "second", "third", "each", "neither"]
Change = State | Odd
_STEPS = 9
_PALEST = 2  # of counts: fewer steps, but never as pale as where nothing is
_CHAR_WIDTH = 6.8
_DENSE = 48
_OUTSIDE = "-"
_PARAMETERS = (".weight", ".bias", ".base_layer")
_ODD: tuple[Odd, ...] = ("first", "second", "third", "each", "same", "neither")
_GRAVEST: tuple[State, ...] = ("changed", "added", "removed", "same", "neither")


class MapCell(Answer):
    """A module in a layer: the style that colours it, and its description for a pointer over it."""

    style: str
    told: str


class MapRow(Answer):
    """A module in every layer."""

    module: str
    cells: list[MapCell]


class LayerMap(Answer):
    """A map; it is dense where there are many layers, and `least` and `most` are its scale."""

    layers: list[str]
    rows: list[MapRow]
    is_dense: bool
    least: int = 0
    most: int = 0


Place = tuple[str, str]
_Places = Mapping[Place, list[ManifestTensor]]


def layer_map(manifest: Manifest) -> LayerMap:
    """Return a map of how many elements each module has in each layer, from few to many."""
    places = places_of(manifest.tensors)
    counts = {place: sum(_elements(t) for t in tensors) for place, tensors in places.items()}
    least, most = min(counts.values(), default=0), max(counts.values(), default=0)

    def cell(place: Place) -> MapCell:
        count = counts.get(place)
        if count is None:
            return MapCell(style="neither", told=f"{_name(place)}: nothing")
        shapes = ", ".join(f"{t.role} {' by '.join(map(str, t.shape))}" for t in places[place][:4])
        description = f"{_name(place)}: {count:,} elements, {shapes}"
        return MapCell(style=f"h{_step(count, least, most)}", told=description)

    drawn_map = _build_map([places], cell)
    return drawn_map.model_copy(update={"least": least, "most": most})


def difference_map(a: Manifest, b: Manifest) -> tuple[LayerMap, dict[Change, int]]:
    """Return a map of where two versions differ, by module and layer, and count the changes."""
    first, second = places_of(a.tensors), places_of(b.tensors)
    counts: dict[State, int] = dict.fromkeys(_GRAVEST, 0)

    def cell(place: Place) -> MapCell:
        state = compare_tensors(first.get(place, []), second.get(place, []))
        counts[state] += 1
        return MapCell(style=state if state != "changed" else "h6", told=f"{_name(place)}: {state}")

    drawn_map = _build_map([first, second], cell)
    return drawn_map, {state: count for state, count in counts.items() if state != "neither"}


def map_cells(found: LayerMap) -> Iterator[tuple[str, str, str]]:
    """Yield a map cell by cell: the module, the layer, the description."""
    for row in found.rows:
        for layer, cell in zip(found.layers, row.cells, strict=True):
            yield row.module, layer, cell.told.partition(": ")[2]


def map_plot(found: LayerMap, label: str) -> str:
    """Draw a map: a row for each module, a column for each layer."""
    width, height = (10, 14) if found.is_dense else (22, 24)
    left_px = 16 + max((len(row.module) for row in found.rows), default=0) * _CHAR_WIDTH
    every = max(1, math.ceil(34 / width))
    marks: list[Mark] = [
        draw_text(left_px + (n + 0.5) * width, 14, layer, "mid")
        for n, layer in enumerate(found.layers)
        if n % every == 0
    ]
    for y, row in enumerate(found.rows):
        top = 22 + y * height
        marks.append(draw_text(left_px - 8, top + height - 6, row.module, "end"))
        for x, cell in enumerate(row.cells):
            place = left_px + x * width
            marks.append(BoxMark(cell.style, cell.told, x=place, y=top, width=width - 2, height=height - 2))
    size = (left_px + len(found.layers) * width + 24, 22 + len(found.rows) * height + 10)
    return svg(size, label, marks, is_fixed=True)


def odd_map(manifests: Sequence[Manifest], names: Sequence[str]) -> tuple[LayerMap, dict[Change, int]]:
    """Return a map of which of three versions differs, by module and layer, and count them."""
    sides = [places_of(manifest.tensors) for manifest in manifests]
    counts: dict[Odd, int] = dict.fromkeys(_ODD, 0)

    def cell(place: Place) -> MapCell:
        digests = [_digests(side.get(place, ())) for side in sides]
        odd = odd_of(digests)
        counts[odd] += 1
        return MapCell(style=odd, told=f"{_name(place)}: {_told_of(odd, digests, names)}")

    drawn_map = _build_map(sides, cell)
    return drawn_map, {odd: count for odd, count in counts.items() if odd != "neither"}


def odd_of(found: Sequence[object]) -> Odd:
    """Return which of three values differs from the other two; "neither" if all are empty."""
    a, b, c = found
    if not any(found):
        return "neither"
    if a == b == c:
        return "same"
    if b == c:
        return "first"
    if a == c:
        return "second"
    return "third" if a == b else "each"


def _told_of(odd: Odd, found: Sequence[object], names: Sequence[str]) -> str:
    without = [name for name, side in zip(names, found, strict=True) if not side]
    missing = f"; nothing in {' and '.join(without)}" if without and odd != "neither" else ""
    match odd:
        case "same" | "neither":
            return "the same in all" if odd == "same" else "nothing"
        case "each":
            return f"all three differ{missing}"
        case "first" | "second" | "third":
            number = _ODD.index(odd)
            others = [name for n, name in enumerate(names) if n != number]
            return f"{names[number]} differs from {' and '.join(others)}{missing}"


def _digests(tensors: Iterable[ManifestTensor]) -> dict[tuple[str, str], object]:
    return {(t.role, t.name): t.digest for t in tensors}


def compare_tensors(a: Iterable[ManifestTensor], b: Iterable[ManifestTensor]) -> State:
    """Return how two versions differ in one place, by the digests of its tensors."""
    ours, theirs = _digests(a), _digests(b)
    if not ours and not theirs:
        return "neither"
    if not ours:
        return "added"
    if not theirs:
        return "removed"
    return "same" if ours == theirs else "changed"


def places_of(tensors: Iterable[ManifestTensor]) -> _Places:
    """Group tensors by module and layer."""
    by_place: dict[Place, list[ManifestTensor]] = defaultdict(list)
    for tensor in tensors:
        target = tensor.target or tensor.name
        for ending in _PARAMETERS:
            target = target.removesuffix(ending)
        _, layer, module = split_path(target)
        by_place[(module, _OUTSIDE if layer is None else str(layer))].append(tensor)
    return by_place


def _build_map(sides: Iterable[_Places], cell: Callable[[Place], MapCell]) -> LayerMap:
    places = {place for side in sides for place in side}
    layers = sorted({layer for _, layer in places}, key=_order)
    modules = sorted({module for module, _ in places})
    rows = [MapRow(module=module, cells=[cell((module, layer)) for layer in layers]) for module in modules]
    return LayerMap(layers=layers, rows=rows, is_dense=len(layers) > _DENSE)


def _name(place: Place) -> str:
    module, layer = place
    return module if layer == _OUTSIDE else f"layer {layer}, {module}"


def _order(layer: str) -> int:
    return -1 if layer == _OUTSIDE else int(layer)


def _elements(tensor: ManifestTensor) -> int:
    return math.prod(tensor.shape)


def _step(count: int, least: int, most: int) -> int:
    """Return the step of a count between the least and the most, by its logarithm."""
    if most <= least or least <= 0:
        return _STEPS // 2
    share = math.log(count / least) / math.log(most / least)
    return min(_STEPS - 1, _PALEST + int(share * (_STEPS - _PALEST)))
