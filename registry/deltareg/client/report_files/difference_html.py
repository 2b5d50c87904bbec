"""A comparison of two versions as HTML: a page of its own, and sections of a gate's report."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import deltareg
from deltareg.client.results.layers import OUTSIDE, Change, Grid, grids
from deltareg.drawing import page
from deltareg.drawing.plots import (
    Heat,
    Line,
    heat_map,
    line_plot,
)
from deltareg.drawing.wording import number, short

if TYPE_CHECKING:
    from deltareg.client.results.reports import DiffReport
    from deltareg.delta.compare import WeightDifference

MOST_ROWS = 40
_MOST_BARS = 16
_MOST_NAMES = 12
_MOST_BESIDE = 6  # layers of a heat map that leaves room for a plot beside it
_COLUMNS = (
    ("module", ""), ("relative change", "num"), ("cosine", "num"), ("‖ΔW‖ A", "num"),
    ("‖ΔW‖ B", "num"), ("rank A", "num"), ("rank B", "num"), ("overlap", "num"),
)  # fmt: skip


def to_html(diff: "DiffReport", *, now: datetime, more: str = "") -> str:
    """Write a comparison as one HTML file; `more` is sections of something else, below it."""
    words = "differ" if diff.is_different else "are the same"
    head = (
        f"<header><h1>{page.text(diff.a.ref)} → {page.text(diff.b.ref)}</h1></header>\n"
        f'<p class="lead">The two {words}. A is {page.text(diff.a.ref)}, '
        f"B is {page.text(diff.b.ref)}.</p>\n"
    )
    body = head + sides(diff) + changes(diff) + sections(diff) + more
    foot = f"deltareg {deltareg.__version__} · {now:%Y-%m-%d %H:%M} UTC"
    return page.page(f"{diff.a.ref} → {diff.b.ref}", body, foot=foot)


def sides(diff: "DiffReport") -> str:
    """Show which two versions they are, side by side."""
    told = [
        page.section(
            f"{letter} · {side.ref}",
            page.facts([
                ("digest", page.code(short(side.digest))),
                ("kind", page.text(" ".join(filter(None, [side.kind, side.variant])))),
                ("base", page.text(side.base.name)),
                ("verdict", page.pill(side.verdict or "missing", is_small=True)),
                ("pushed", f"{page.text(side.created_at[:10])} by {page.text(side.created_by)}"),
                ("message", page.text(side.message)),
            ]),
        )
        for letter, side in (("A", diff.a), ("B", diff.b))
    ]  # fmt: skip
    return f'<div class="grid">{"".join(told)}</div>\n'


def changes(diff: "DiffReport") -> str:
    """Show what differs beside the weights' values: settings, files, tensors."""
    if not diff.is_different:
        return ""
    tensors = diff.tensors
    counts = ((len(tensors.changed), "changed"), (len(tensors.added), "added"),
              (len(tensors.removed), "removed"), (tensors.identical, "identical"))  # fmt: skip
    rows = [
        ("tensors", page.text(", ".join(f"{n:,} {word}" for n, word in counts if n))),
        ("added", _names(tensors.added)),
        ("removed", _names(tensors.removed)),
        *[(c.field, page.text(f"{_value(c.a)} → {_value(c.b)}")) for c in diff.config],
        ("files", _names([f"{file.path} {file.change}" for file in diff.files])),
    ]
    return page.section("What differs", page.facts(rows))


def sections(diff: "DiffReport", *, lead: str = "", is_alone: bool = False) -> str:
    """Show heat map, norms over layers, and the modules that differ most.

    Args:
        diff: All modules.
        lead: A sentence on what is compared.
        is_alone: Whether it compares a version with itself, for the norms of its own change.
    """
    title = "Norm of the change by layer and module" if is_alone else "Change by layer and module"
    words = f'<p class="lead">{page.text(lead)}</p>' if lead else ""
    found = grids(diff.modules)
    if not found:
        return page.section(title, words, f"<p>{_no_modules(diff)}</p>")
    told = page.section(title, words, *(_grid(grid, is_alone=is_alone) for grid in found))
    profiles = [_profile(diff, grid, is_alone=is_alone) for grid in found if len(grid.layers) > 1]
    if any(len(grid.layers) > _MOST_BESIDE for grid in found):
        told += "".join(profiles[:2])
    else:
        told = f'<div class="grid">{told}{"".join(profiles[:1])}</div>'
    return told + ("" if is_alone else _modules(diff.modules))


def _no_modules(diff: "DiffReport") -> str:
    return page.text(diff.note or "No module of the two could be measured.")


def _grid(grid: Grid, *, is_alone: bool) -> str:
    unit = "‖ΔW‖" if is_alone else "‖ΔW_B - ΔW_A‖ / ‖ΔW_A‖"
    label = f"{unit}, {grid.within}"
    loose = {m: grid.cells[-1, m] for m in grid.modules if (-1, m) in grid.cells}
    told = f'<p class="dim">{page.code(grid.within)}</p>' if grid.within != OUTSIDE else ""
    if grid.layers:
        cells = [
            [_value_at(grid, layer, module, is_alone=is_alone) for layer in grid.layers]
            for module in grid.modules
        ]
        heat = Heat(grid.modules, [str(n) for n in grid.layers], cells, label, unit)
        told += page.scroll(heat_map(heat), label=label)
    if loose:
        most = sorted(loose.items(), key=lambda pair: -_amount(pair[1], is_alone=is_alone))
        rows = [
            (name, amount := _amount(change, is_alone=is_alone), number(amount))
            for name, change in most[:_MOST_BARS]
        ]
        told += f'<p class="dim">{OUTSIDE}, {page.text(unit)}</p>{page.bars(rows)}'
    return told


def _value_at(grid: Grid, layer: int, module: str, *, is_alone: bool) -> float | None:
    change = grid.cells.get((layer, module))
    return None if change is None else _amount(change, is_alone=is_alone)


def _amount(change: Change, *, is_alone: bool) -> float:
    return change.norms[1] if is_alone else change.relative


def _profile(diff: "DiffReport", grid: Grid, *, is_alone: bool) -> str:
    norms = [change.norms for change in grid.by_layer()]
    lines = [Line(diff.b.ref, [b for _, b in norms], "b")]
    entries = [("b", diff.b.ref)]
    if not is_alone:
        lines.insert(0, Line(diff.a.ref, [a for a, _ in norms], "a"))
        entries.insert(0, ("a", diff.a.ref))
    label = f"‖ΔW‖ by layer of {grid.within}"
    plot = line_plot(lines, [str(n) for n in grid.layers], label=label)
    return page.section(
        "Norm over the layers", f'<p class="dim">{page.text(label)}</p>{plot}', page.legend(entries)
    )


def _modules(modules: Sequence["WeightDifference"]) -> str:
    rows = [
        [
            page.path(module.module),
            *(
                page.text(number(value))
                for value in (
                    module.relative_norm, module.cosine, module.norm_a, module.norm_b,
                    module.rank_a, module.rank_b, module.overlap,
                )
            ),
        ]
        for module in modules[:MOST_ROWS]
    ]  # fmt: skip
    more = len(modules) - len(rows)
    caption = "Those that differ most first" + (f"; {more:,} more are not shown" if more else "")
    return page.section("Modules", page.table(_COLUMNS, rows, caption=caption))


def _names(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    told = ", ".join(page.code(name) for name in names[:_MOST_NAMES])
    return told + (f" and {more:,} more" if more > 0 else "")


def _value(value: object) -> str:
    return "none" if value is None or value == "" else short(str(value))
