"""A finished merge, and the forecast of one, as blocks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from deltareg_cli.terminal.blocks import Block, Cell, Column, FactsBlock, LinesBlock, TableBlock, Text, TitleBlock
from deltareg_cli.terminal.wording import count, number, seconds
from deltareg_cli.views.versions import kind_of, sizes_of

if TYPE_CHECKING:
    from deltareg.client import MergePlan, MergeReport
    from deltareg.delta.merge.conflicts import WeightConflict

_MOST_MODULES = 20
_PAIR = ("signs agree", "cosine", "overlap", "‖ΔW a‖/‖W‖", "‖ΔW b‖/‖W‖")


def merge_blocks(report: "MergeReport") -> list[Block]:
    """Show the version, its parents, and what a LoRA of limited rank lost."""
    version, recipe = report.pushed.version, report.recipe
    settings = ", ".join(f"{name} {number(value)}" for name, value in recipe.parameters.items())
    parents = ", ".join(f"{number(p.weight)} x {p.ref}" for p in recipe.parents)
    error = recipe.relative_error.get("")
    return [
        TitleBlock(version.ref, "" if report.pushed.created else "was there already"),
        FactsBlock(
            [
                ("merged from", parents),
                ("method", f"{recipe.method}{f', {settings}' if settings else ''}"),
                ("lost", "" if error is None else f"{error:.3g} of the change"),
                ("kind", kind_of(version)),
                ("base", version.base.name),
                ("size", sizes_of(version)),
                ("took", seconds(report.seconds)),
                ("digest", version.digest),
            ]
        ),
        *_show_loss(report),
    ]


def plan_blocks(plan: "MergePlan", *, top: int = _MOST_MODULES) -> list[Block]:
    """Show the forecast of a merge: by pair, then the weights whose signs agree least."""
    text = ", ".join(
        f"{number(weight)} x {version.ref}" for version, weight in zip(plan.parents, plan.weights, strict=True)
    )
    bases = ", ".join(dict.fromkeys(version.base.name for version in plan.parents))
    blocks: list[Block] = [
        TitleBlock(f"{plan.method} merge", "a plan; nothing was pushed"),
        FactsBlock([("of", text), ("base", bases)]),
    ]
    if plan.hindrance is not None:
        blocks.append(LinesBlock([Cell(f"cannot be merged: {plan.hindrance.message}", "bad")]))
        blocks.append(LinesBlock([Cell(plan.hindrance.fix, "dim")]))
    if plan.pairs:
        columns = [Column("a"), Column("b"), *(Column(t, is_number=True) for t in _PAIR)]
        rows: list[list[Text]] = [[c.a, c.b, *_numbers(c)] for c in plan.pairs]
        blocks += [TitleBlock("Over all weights"), TableBlock(columns, rows)]
    if plan.modules:
        columns = [Column("weight", is_prose=True), *(Column(t, is_number=True) for t in _PAIR)]
        modules = plan.modules[:top]
        several = len(plan.pairs) > 1
        rows = [[Cell(f"{c.module} ({c.a}, {c.b})" if several else c.module, "name"), *_numbers(c)] for c in modules]
        beside = f"{len(modules)} of {count(len(plan.modules), 'row')}, worst first"
        blocks += [TitleBlock("Weights", beside), TableBlock(columns, rows)]
    return blocks


def _numbers(conflict: "WeightConflict") -> Sequence[str]:
    values = (conflict.sign_agreement, conflict.cosine, conflict.overlap, conflict.relative_a, conflict.relative_b)
    return [_measure(value) for value in values]


def _measure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _show_loss(report: "MergeReport") -> list[Block]:
    modules = {n: e for n, e in report.recipe.relative_error.items() if n}
    if not modules:
        return []
    worst = sorted(modules.items(), key=lambda item: (-item[1], item[0]))[:_MOST_MODULES]
    rows: list[list[Text]] = [[Cell(name, "name"), f"{error:.3g}"] for name, error in worst]
    columns = [Column("weight", is_prose=True), Column("lost", is_number=True)]
    return [TitleBlock("Lost", "as a share of each change, worst first"), TableBlock(columns, rows)]
