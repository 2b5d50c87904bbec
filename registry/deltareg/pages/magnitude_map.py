"""Maps of how far modules differ, layer by layer, in steps of their logarithm or of a share."""

import math
from collections.abc import Callable, Mapping, Sequence

from deltareg.delta.injection import split_path
from deltareg.pages.layer_map import LayerMap, MapCell, MapRow
from deltareg.wire.findings import ModuleDifference

_STEPS = 9
_DENSE = 48
_OUTSIDE = "-"
_PARAMETERS = (".weight", ".bias")
Place = tuple[str, str]
_Cell = Callable[[str, ModuleDifference | None], MapCell]


class MagnitudeMap(LayerMap):
    """A map whose colours go from `low` to `high`."""

    low: float = 0.0
    high: float = 0.0


def change_map(modules: Sequence[ModuleDifference]) -> MagnitudeMap:
    """Return a map of how far two versions differ by module, in logarithmic steps."""
    places = _places(modules)
    both = [one.relative_norm for one in places.values() if _is_in_both(one) and one.relative_norm]
    low, high = min(both, default=0.0), max(both, default=0.0)

    def cell(name: str, one: ModuleDifference | None) -> MapCell:
        if one is None:
            return MapCell(style="neither", told=f"{name}: in neither")
        return MapCell(style=_style(one, low, high), told=f"{name}: {_describe_difference(one)}")

    return _build_map(places, cell).model_copy(update={"low": low, "high": high})


def overlap_map(modules: Sequence[ModuleDifference]) -> MagnitudeMap | None:
    """Return a map of how much of both changes to each module lies in one subspace, 0 to 1.

    None if nothing was measured.
    """
    places = _places([one for one in modules if one.overlap is not None and _is_in_both(one)])
    if not places:
        return None

    def cell(name: str, one: ModuleDifference | None) -> MapCell:
        if one is None or one.overlap is None:
            return MapCell(style="neither", told=f"{name}: not measured")
        step = min(_STEPS - 1, int(one.overlap * _STEPS))
        return MapCell(style=f"h{step}", told=f"{name}: overlap {one.overlap:.2f}")

    return _build_map(places, cell).model_copy(update={"high": 1.0})


def _is_in_both(one: ModuleDifference) -> bool:
    return bool(one.norm_a and one.norm_b)


def _style(one: ModuleDifference, low: float, high: float) -> str:
    if one.relative_norm is None:
        return "neither"
    if not one.relative_norm:
        return "same"
    if not _is_in_both(one):
        return "removed" if one.norm_a else "added"
    if high <= low:
        return f"h{_STEPS // 2}"
    share = math.log(one.relative_norm / low) / math.log(high / low)
    return f"h{min(_STEPS - 1, int(share * _STEPS))}"


def _describe_difference(one: ModuleDifference) -> str:
    more = f", the most of {one.count:,} weights" if one.count > 1 else ""
    if one.relative_norm is None:
        return f"not measured{more}"
    if not one.relative_norm:
        return f"the same{more}"
    if not _is_in_both(one):
        return f"changed by {'the first' if one.norm_a else 'the second'} alone{more}"
    words = [f"apart {one.relative_norm:.3g}"]
    if one.cosine is not None:
        words.append(f"cosine {one.cosine:.2f}")
    if one.overlap is not None:
        words.append(f"overlap {one.overlap:.2f}")
    return f"{', '.join(words)}{more}"


def _places(modules: Sequence[ModuleDifference]) -> Mapping[Place, ModuleDifference]:
    """Group modules by place; several in one place become the one that differs most."""
    by_place: dict[Place, ModuleDifference] = {}
    for one in modules:
        path = one.module
        for ending in _PARAMETERS:
            path = path.removesuffix(ending)
        _, layer, module = split_path(path)
        place = module, _OUTSIDE if layer is None else str(layer)
        earlier = by_place.get(place)
        count = one.count + (0 if earlier is None else earlier.count)
        first = one if earlier is None else earlier
        by_place[place] = first.model_copy(update={"count": count})
    return by_place


def _build_map(places: Mapping[Place, ModuleDifference], cell: _Cell) -> MagnitudeMap:
    layers = sorted({layer for _, layer in places}, key=_order)
    rows = [
        MapRow(module=module, cells=[cell(_name(module, layer), places.get((module, layer))) for layer in layers])
        for module in sorted({module for module, _ in places})
    ]
    return MagnitudeMap(layers=layers, rows=rows, is_dense=len(layers) > _DENSE)


def _name(module: str, layer: str) -> str:
    return module if layer == _OUTSIDE else f"layer {layer}, {module}"


def _order(layer: str) -> int:
    return -1 if layer == _OUTSIDE else int(layer)
