"""`deltareg lineage`: what a version was made from, and what was made from it."""

from collections.abc import Iterator, Mapping, Sequence

import click

from deltareg.wire import LineageAnswer, LineageEdge
from deltareg_cli.blocks import Answer, Cell, Lines, Text
from deltareg_cli.command_tree import command
from deltareg_cli.documents import fields
from deltareg_cli.help_page import Example
from deltareg_cli.invocation import Invocation
from deltareg_cli.options import option

Row = tuple[str, str, str]


@command(
    "lineage",
    Example("both ways", "deltareg lineage me/chat:v3"),
    Example("only what was made from it", "deltareg lineage me/chat:v3 --down"),
    see_also=("show", "diff"),
)
@click.argument("ref", help="Where to begin; a bare NS/NAME is its newest version.")
@option("--up", is_flag=True, help="Only what it was made from.")
@option("--down", is_flag=True, help="Only what was made from it.")
@option(
    "--depth", type=click.IntRange(1, 100), default=10, show_default=True, help="Steps at most."
)
@click.pass_obj
def lineage(invocation: Invocation, ref: str, *, up: bool, down: bool, depth: int) -> None:
    """Show what a version was made from, and what from it.

    Versions and bases, as a tree each way.
    """
    answer = invocation.client.versions.lineage(ref, depth=depth)
    if up != down:
        answer = answer.model_copy(update={"down" if up else "up": []})
    lines: list[Text | Sequence[Text]] = [Cell(answer.ref, "name")]
    lines += _side("made from", answer, answer.up) + _side("made from it", answer, answer.down)
    if len(lines) == 1:
        lines.append(Cell("  nothing there", "dim"))
    ids = [edge.parent for edge in answer.up] + [edge.child for edge in answer.down]
    invocation.output.show(Answer(fields(answer), [Lines(lines)], ids))


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
