"""Changes of weights as plots and rows for a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deltareg.client.results.layers import OUTSIDE, ChangeNorms, LayerGrid, grids
from deltareg.drawing.plots import HeatMap, PlotBar, PlotLine, heat_map, line_plot, shares
from deltareg.drawing.wording import number

if TYPE_CHECKING:
    from deltareg.client.results.diff_report import DiffReport
    from deltareg.delta.compare import WeightDifference

MOST_ROWS = 40
_MOST_BARS = 16
_MOST_BESIDE = 6  # layers of a heat map that leaves room for a plot beside it
_COLUMNS = (
    ("module", ""),
    ("relative change", "num"),
    ("cosine", "num"),
    ("‖ΔW‖ A", "num"),
    ("‖ΔW‖ B", "num"),
    ("rank A", "num"),
    ("rank B", "num"),
    ("overlap", "num"),
)


@dataclass(frozen=True, slots=True)
class ShownGrid:
    """A grid of layers and modules, ready to be drawn.

    Attributes:
        within: The path of its layers; empty outside of any.
        label: Its title.
        plot: The heat map; empty without layers.
        outside: The title of what lies outside of layers.
        loose: What lies outside of layers, as bars.
    """

    within: str
    label: str
    plot: str
    outside: str
    loose: Sequence[PlotBar]


@dataclass(frozen=True, slots=True)
class NormProfile:
    """A plot of norms over layers, with a class and a label for each of its lines."""

    label: str
    plot: str
    entries: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ChangesSection:
    """Everything that a page shows about changed weights.

    Attributes:
        title: The heading above the grids.
        lead: A sentence on what is compared; empty for none.
        nothing: Why there is no grid.
        grids: Heat maps and bars.
        profiles: Plots of norms over the layers.
        is_beside: Whether the profiles stand beside the grids.
        columns: The columns of the table of modules: a title and a class each.
        rows: The rows of that table.
        caption: The caption of that table; empty if there is no table.
    """

    title: str
    lead: str
    nothing: str
    grids: Sequence[ShownGrid] = ()
    profiles: Sequence[NormProfile] = ()
    is_beside: bool = False
    columns: Sequence[tuple[str, str]] = _COLUMNS
    rows: Sequence[Sequence[str]] = ()
    caption: str = ""


def changes(diff: "DiffReport", *, lead: str = "", is_alone: bool = False) -> ChangesSection:
    """Draw heat map, norms over layers, and the modules that differ most.

    Args:
        diff: The comparison of all modules.
        lead: A sentence on what is compared.
        is_alone: Whether it compares a version with itself, for the norms of its own change.
    """
    title = "Norm of the change by layer and module" if is_alone else "Change by layer and module"
    nothing = diff.note or "No module of the two could be measured."
    layer_grids = grids(diff.modules)
    if not layer_grids:
        return ChangesSection(title, lead, nothing)
    is_beside = all(len(grid.layers) <= _MOST_BESIDE for grid in layer_grids)
    profiles = [_profile(diff, grid, is_alone=is_alone) for grid in layer_grids if len(grid.layers) > 1]
    more = len(diff.modules) - MOST_ROWS
    caption = "Those that differ most first" + (f"; {more:,} more are not shown" if more > 0 else "")
    return ChangesSection(
        title,
        lead,
        nothing,
        [_grid(grid, is_alone=is_alone) for grid in layer_grids],
        profiles[: 1 if is_beside else 2],
        is_beside,
        rows=[_row(module) for module in diff.modules[:MOST_ROWS]],
        caption="" if is_alone else caption,
    )


def _grid(grid: LayerGrid, *, is_alone: bool) -> ShownGrid:
    unit = "‖ΔW‖" if is_alone else "‖ΔW_B - ΔW_A‖ / ‖ΔW_A‖"
    label = f"{unit}, {grid.within}"
    within = "" if grid.within == OUTSIDE else grid.within
    plot = ""
    if grid.layers:
        cells = [
            [_value_at(grid, layer, module, is_alone=is_alone) for layer in grid.layers] for module in grid.modules
        ]
        plot = heat_map(HeatMap(grid.modules, [str(n) for n in grid.layers], cells, label, unit))
    loose = _loose(grid, is_alone=is_alone)
    return ShownGrid(within, label, plot, f"{OUTSIDE}, {unit}", loose)


def _loose(grid: LayerGrid, *, is_alone: bool) -> list[PlotBar]:
    """Return the bars of what lies outside of layers, the largest first."""
    amounts = [
        (module, _amount(grid.cells[-1, module], is_alone=is_alone))
        for module in grid.modules
        if (-1, module) in grid.cells
    ]
    most = sorted(amounts, key=lambda pair: -pair[1])[:_MOST_BARS]
    return shares([(name, amount, number(amount)) for name, amount in most])


def _value_at(grid: LayerGrid, layer: int, module: str, *, is_alone: bool) -> float | None:
    change = grid.cells.get((layer, module))
    return None if change is None else _amount(change, is_alone=is_alone)


def _amount(change: ChangeNorms, *, is_alone: bool) -> float:
    return change.norms[1] if is_alone else change.relative


def _profile(diff: "DiffReport", grid: LayerGrid, *, is_alone: bool) -> NormProfile:
    norms = [change.norms for change in grid.by_layer()]
    lines = [PlotLine(diff.b.ref, [b for _, b in norms], "b")]
    if not is_alone:
        lines.insert(0, PlotLine(diff.a.ref, [a for a, _ in norms], "a"))
    label = f"‖ΔW‖ by layer of {grid.within}"
    plot = line_plot(lines, [str(n) for n in grid.layers], label=label)
    return NormProfile(label, plot, [(line.style, line.name) for line in lines])


def _row(module: "WeightDifference") -> list[str]:
    values = (
        module.relative_norm,
        module.cosine,
        module.norm_a,
        module.norm_b,
        module.rank_a,
        module.rank_b,
        module.overlap,
    )
    return [module.module, *map(number, values)]
