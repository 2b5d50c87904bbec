"""Results as HTML, for notebooks: small tables, and the heat map of a comparison.

All text is escaped, as it comes from users. Nothing is loaded from anywhere, and a notebook whose
output is not trusted shows the plain text instead.
"""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from deltareg.client.results.layers import OUTSIDE, LayerGrid, grids
from deltareg.drawing.plots import HeatMap, heat_map
from deltareg.drawing.wording import number
from deltareg.wire.tables import Fields, facts_html, rows_html

if TYPE_CHECKING:
    from deltareg.delta.compare import WeightDifference
    from deltareg.errors import Problem

_MOST_MODULES = 20
_UNIT = "‖ΔW_B - ΔW_A‖ / ‖ΔW_A‖"
_STEPS = ("#eaf2fb", "#d3e4f6", "#b5d2ef", "#8fbbe6", "#669fd9", "#4382c6", "#2a67ad", "#174c8d", "#0a3166")
_STYLE = (
    "".join(f".deltareg .h{step}{{fill:{colour}}}" for step, colour in enumerate(_STEPS))
    + ".deltareg svg{font:12px sans-serif;max-width:none}.deltareg text{fill:currentColor}"
    ".deltareg .none{fill:none;stroke:#bbb}.deltareg .mid{text-anchor:middle}"
    ".deltareg .end{text-anchor:end}.deltareg .on{fill:#fff}.deltareg .off{fill:#23303f}"
)


def diff_html(title: str, facts: Fields, modules: Sequence["WeightDifference"], *, note: str) -> str:
    """Format how two versions differ: in what, where, and how much."""
    maps = "".join(_heat(grid) for grid in grids(modules) if grid.layers)
    paragraph = f"<p>{escape(note)}</p>" if note else ""
    parts = [f"<h4>{escape(title)}</h4>", facts_html("", facts), maps, paragraph, _modules(modules)]
    return f'<div class="deltareg"><style>{_STYLE}</style>{"".join(parts)}</div>'


def lint_html(title: str, facts: Fields, problems: Sequence["Problem"]) -> str:
    """Format what a folder is, and what is wrong with it."""
    rows: Sequence[Fields] = [
        {"severity": p.severity, "code": p.code, "tensor": p.tensor, "message": p.message, "fix": p.fix}
        for p in problems
    ]
    return facts_html(title, facts) + (rows_html(rows, title="what is odd or wrong") if rows else "")


def _heat(grid: LayerGrid) -> str:
    cells = [[_relative(grid, layer, module) for layer in grid.layers] for module in grid.modules]
    where = "" if grid.within == OUTSIDE else f"{grid.within}: "
    heat = HeatMap(grid.modules, [str(n) for n in grid.layers], cells, f"{where}change by layer", _UNIT)
    return f'<div style="overflow-x:auto">{heat_map(heat)}</div>'


def _relative(grid: LayerGrid, layer: int, module: str) -> float | None:
    change = grid.cells.get((layer, module))
    return None if change is None else change.relative


def _modules(modules: Sequence["WeightDifference"]) -> str:
    rows: Sequence[Fields] = [
        {
            "module": one.module,
            "relative change": number(one.relative_norm),
            "cosine": number(one.cosine),
            "‖ΔW‖ A": number(one.norm_a),
            "‖ΔW‖ B": number(one.norm_b),
            "rank A": one.rank_a,
            "rank B": one.rank_b,
        }
        for one in modules[:_MOST_MODULES]
    ]
    more = len(modules) - len(rows)
    note = f"{more:,} more are not shown" if more else ""
    return rows_html(rows, note=note) if rows else ""
