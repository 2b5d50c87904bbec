"""`deltareg lineage`: what a version was made from, and what was made from it."""

from collections.abc import Iterator, Mapping, Sequence

import click

from deltareg.wire import LineageAnswer, LineageEdge
from deltareg_cli.blocks import Answer, Cell, Lines, Text
from deltareg_cli.command_tree import Place, command
from deltareg_cli.documents import fields
from deltareg_cli.help_page import Example
from deltareg_cli.invocation import Invocation
from deltareg_cli.options import option
from deltareg_cli.wording import clean

PLACE = Place("Deltas", 100)

Row = tuple[str, str, str]


@command(
    "lineage",
    Example("both ways", "deltareg lineage me/chat:v3"),
    Example("only what was made from it", "deltareg lineage me/chat:v3 --down"),
    Example("as a picture", "deltareg lineage me/chat:v3 --format dot | dot -Tsvg > lineage.svg"),
    see_also=("show", "diff"),
)
@click.argument("ref", help="Where to begin; a bare NS/NAME is its newest version.")
@option("--up", is_flag=True, help="Only what it was made from.")
@option("--down", is_flag=True, help="Only what was made from it.")
@option(
    "--depth", type=click.IntRange(1, 100), default=10, show_default=True, help="Steps at most."
)
@option(
    "--format",
    "form",
    type=click.Choice(["tree", "dot", "mermaid"]),
    default="tree",
    show_default=True,
    help="As a tree, or as a graph for Graphviz or Mermaid.",
)
@click.pass_obj
def lineage(
    invocation: Invocation, ref: str, *, up: bool, down: bool, depth: int, form: str
) -> None:
    """Show what a version was made from, and what from it.

    Versions and bases, as a tree each way, or as one graph. Of one that was imported it says where
    that lay.
    """
    answer = invocation.client.versions.lineage(ref, depth=depth)
    labels = invocation.client.show(answer.ref).labels
    if up != down:
        answer = answer.model_copy(update={"down" if up else "up": []})
    lines: list[Text | Sequence[Text]] = [Cell(answer.ref, "name")]
    if "imported.from" in labels and not (down and not up):
        lines.append([Cell("  imported from", "dim"), clean(labels["imported.from"])])
    lines += _side("made from", answer, answer.up) + _side("made from it", answer, answer.down)
    if len(lines) == 1:
        lines.append(Cell("  nothing there", "dim"))
    ids = [edge.parent for edge in answer.up] + [edge.child for edge in answer.down]
    raw = None if form == "tree" else _GRAPHS[form](answer)
    invocation.output.show(Answer(fields(answer), [Lines(lines)], ids, raw=raw))


def _edges(answer: LineageAnswer) -> list[LineageEdge]:
    """Give every edge once, those above first."""
    return list({(e.parent, e.child, e.relation): e for e in (*answer.up, *answer.down)}.values())


def _names(answer: LineageAnswer) -> list[str]:
    edges = _edges(answer)
    return list(dict.fromkeys([answer.ref, *(name for e in edges for name in (e.parent, e.child))]))


def _dot(answer: LineageAnswer) -> str:
    """Write the graph for Graphviz; a name is a quoted string, in which it knows one escape."""

    def quoted(name: str) -> str:
        text = clean(name).replace("\\", "\\\\").replace('"', '\\"')
        return f'"{text}"'

    nodes = [f"  {quoted(answer.ref)} [style=bold];"]
    edges = [
        f"  {quoted(e.parent)} -> {quoted(e.child)} [label={quoted(e.relation)}];"
        for e in _edges(answer)
    ]
    return "\n".join(["digraph lineage {", "  rankdir=BT;", *nodes, *edges, "}", ""])


def _mermaid(answer: LineageAnswer) -> str:
    """Write the graph for Mermaid, whose ids are numbers here and whose names stand in quotes."""

    def quoted(name: str) -> str:
        return clean(name).replace('"', "#quot;")

    ids = {name: f"n{number}" for number, name in enumerate(_names(answer))}
    nodes = [f'  {ids[name]}["{quoted(name)}"]' for name in ids]
    edges = [
        f'  {ids[e.parent]} -->|"{quoted(e.relation)}"| {ids[e.child]}' for e in _edges(answer)
    ]
    return "\n".join(["graph BT", *nodes, *edges, ""])


_GRAPHS = {"dot": _dot, "mermaid": _mermaid}


def _side(
    title: str, answer: LineageAnswer, edges: Sequence[LineageEdge]
) -> list[Text | Sequence[Text]]:
    if not edges:
        return []
    is_up = edges is answer.up
    below: dict[str, list[tuple[str, str]]] = {}
    for edge in edges:
        here, there = (edge.child, edge.parent) if is_up else (edge.parent, edge.child)
        below.setdefault(here, []).append((there, edge.relation))
    title_line: Text = Cell(f"  {title}", "dim")
    rows: list[Text | Sequence[Text]] = [
        [stem, name, Cell(word, "dim")]
        for stem, name, word in _walk(answer.ref, below, "  ", frozenset({answer.ref}))
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
