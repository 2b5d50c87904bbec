"""Differences of weights as a grid: which layer, which module, how much."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deltareg.delta.injection import split_path

if TYPE_CHECKING:
    from deltareg.delta.compare import WeightDifference

OUTSIDE = "outside the layers"


@dataclass(slots=True)
class ChangeNorms:
    """Sums over weights of squared norms.

    Attributes:
        apart: The sum for ΔW_b - ΔW_a; None until something was measured.
        a: The sum for ΔW_a.
        b: The sum for ΔW_b.
    """

    apart: float = 0.0
    a: float = 0.0
    b: float = 0.0

    @property
    def norms(self) -> tuple[float, float]:
        """‖ΔW_a‖ and ‖ΔW_b‖."""
        return math.sqrt(self.a), math.sqrt(self.b)

    @property
    def relative(self) -> float:
        """‖ΔW_b - ΔW_a‖ / ‖ΔW_a‖; 1 where only b changes anything, 0 where neither does."""
        if self.a > 0:
            return math.sqrt(self.apart / self.a)
        return 1.0 if self.b > 0 else 0.0


@dataclass(frozen=True, slots=True)
class LayerGrid:
    """The changed modules in one list of layers.

    Attributes:
        within: The list's path, `model.layers`; a description for modules outside of any.
        layers: Layer numbers, ascending; empty outside of layers.
        modules: The modules' paths within a layer.
        cells: Norms by layer (-1 outside) and module; a missing cell was not changed or not
            measured.
    """

    within: str
    layers: tuple[int, ...]
    modules: tuple[str, ...]
    cells: dict[tuple[int, str], ChangeNorms]

    def by_layer(self) -> list[ChangeNorms]:
        """Return the sums over each layer's modules."""
        return [
            _total(self.cells[key] for m in self.modules if (key := (layer, m)) in self.cells) for layer in self.layers
        ]


def grids(modules: Sequence["WeightDifference"]) -> list[LayerGrid]:
    """Sort weights into grids: the one with most layers first, weights outside of layers last."""
    by_list: dict[str, dict[tuple[int, str], ChangeNorms]] = {}
    for weight in modules:
        if weight.relative_norm is None or weight.norm_a is None or weight.norm_b is None:
            continue
        within, layer, module = split_path(weight.module.removesuffix(".weight"))
        cells = by_list.setdefault(within or OUTSIDE, {})
        change = cells.setdefault((-1 if layer is None else layer, module), ChangeNorms())
        scale = weight.norm_a if weight.norm_a > 0 else weight.norm_b
        change.apart += (weight.relative_norm * scale) ** 2
        change.a += weight.norm_a**2
        change.b += weight.norm_b**2
    layer_grids = [_grid(within, cells) for within, cells in by_list.items()]
    return sorted(layer_grids, key=lambda g: (g.within == OUTSIDE, -len(g.layers), g.within))


def _grid(within: str, cells: dict[tuple[int, str], ChangeNorms]) -> LayerGrid:
    layers = tuple(sorted({layer for layer, _ in cells if layer >= 0}))
    return LayerGrid(within, layers, tuple(dict.fromkeys(sorted(m for _, m in cells))), cells)


def _total(changes: Iterable[ChangeNorms]) -> ChangeNorms:
    total = ChangeNorms()
    for change in changes:
        total.apart += change.apart
        total.a += change.a
        total.b += change.b
    return total
