"""`deltareg lineage`: what a version was made from, and what was made from it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from deltareg.drawing.graph import Arrow, Graph, Node
from deltareg.drawing.graph_texts import to_dot, to_mermaid
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.terminal.blocks import Cell, CommandResult, LinesBlock, Text
from deltareg_cli.terminal.documents import fields
from deltareg_cli.terminal.wording import clean
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example

if TYPE_CHECKING:
    from deltareg.wire import LineageAnswer, LineageEdge

ORDER = 100

Row = tuple[str, str, str]


@command(
    "lineage",
    Example("both ways", "deltareg lineage me/chat:v3"),
    Example("only what was made from it", "deltareg lineage me/chat:v3 --down"),
    Example("what stands on a base", "deltareg lineage base:llama"),
    Example("as a picture", "deltareg lineage me/chat:v3 --format dot | dot -Tsvg > lineage.svg"),
    see_also=("show", "diff"),
)
@click.argument("ref", help="Where to begin; a bare NS/NAME is its newest version, base:NAME a base.")
@option("--up", is_flag=True, help="Only what it was made from.")
@option("--down", is_flag=True, help="Only what was made from it.")
@option("--depth", type=click.IntRange(1, 100), default=10, show_default=True, help="Steps at most.")
@option(
    "--format",
    "form",
    type=click.Choice(["tree", "dot", "mermaid", "json"]),
    default="tree",
    show_default=True,
    help="As a tree, as a graph for Graphviz or Mermaid, or as --output json.",
)
@click.pass_obj
def lineage(invocation: Invocation, ref: str, *, up: bool, down: bool, depth: int, form: str) -> None:
    """Show what a version was made from, and what from it.

    Versions and bases, as a tree each way, or as one graph. Of one that was imported it says where
    that lay.
    """
    if form == "json":
        invocation.output.format = "json"
    answer = invocation.client.versions.lineage(ref, depth=depth)
    labels = {} if answer.ref.startswith("base:") else invocation.client.show(answer.ref).labels
    if up != down:
        answer = answer.model_copy(update={"down" if up else "up": []})
    lines: list[Text | Sequence[Text]] = [Cell(answer.ref, "name")]
    if "imported.from" in labels and not (down and not up):
        lines.append([Cell("  imported from", "dim"), clean(labels["imported.from"])])
    lines += _side("made from", answer, answer.up) + _side("made from it", answer, answer.down)
    if len(lines) == 1:
        lines.append(Cell("  nothing there", "dim"))
    ids = [edge.parent for edge in answer.up] + [edge.child for edge in answer.down]
    raw = None if form not in _GRAPHS else _GRAPHS[form](_graph(answer))
    invocation.output.show(CommandResult(fields(answer), [LinesBlock(lines)], ids, raw=raw))


def _graph(answer: "LineageAnswer") -> Graph:
    """Return every version and base once, and every edge, those above first."""
    edges = {(e.parent, e.child, e.relation): e for e in (*answer.up, *answer.down)}.values()
    names = dict.fromkeys([answer.ref, *(name for e in edges for name in (e.parent, e.child))])
    return Graph(
        [Node(name, name, style="this" if name == answer.ref else "") for name in names],
        [Arrow(e.parent, e.child, e.relation) for e in edges],
    )


_GRAPHS = {"dot": to_dot, "mermaid": to_mermaid}


def _side(title: str, answer: "LineageAnswer", edges: Sequence["LineageEdge"]) -> list[Text | Sequence[Text]]:
    if not edges:
        return []
    is_up = edges is answer.up
    below: dict[str, list[tuple[str, str]]] = {}
    for edge in edges:
        here, there = (edge.child, edge.parent) if is_up else (edge.parent, edge.child)
        below.setdefault(here, []).append((there, edge.relation))
    title_line: Text = Cell(f"  {title}", "dim")
    rows: list[Text | Sequence[Text]] = [
        [stem, name, Cell(word, "dim")] for stem, name, word in _walk(answer.ref, below, "  ", frozenset({answer.ref}))
    ]
    return [title_line, *rows]


def _walk(
    node: str, below: Mapping[str, Sequence[tuple[str, str]]], indent: str, seen: frozenset[str]
) -> Iterator[Row]:
    children = below.get(node, ())
    for n, (name, relation) in enumerate(children):
        is_last = n == len(children) - 1
        yield f"{indent}{'└─' if is_last else '├─'}", name, relation
        if name not in seen:
            yield from _walk(name, below, f"{indent}{'   ' if is_last else '│  '}", seen | {name})
