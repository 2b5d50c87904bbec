"""A graph in the languages of Graphviz and Mermaid."""

from deltareg.drawing.graph import Graph, Node
from deltareg.drawing.wording import clean

_MAIN = "this"


def to_dot(graph: Graph) -> str:
    """Write a graph for Graphviz; names are quoted strings, which have a single escape."""
    nodes = [f"  {_dot(node.key)}{_dot_looks(node)};" for node in graph.nodes]
    arrows = [
        f"  {_dot(arrow.start)} -> {_dot(arrow.end)}" + (f" [label={_dot(arrow.words)}];" if arrow.words else ";")
        for arrow in graph.arrows
    ]
    return "\n".join(["digraph lineage {", "  rankdir=LR;", *nodes, *arrows, "}", ""])


def to_mermaid(graph: Graph) -> str:
    """Write a graph for Mermaid, with numbers as ids and quoted names."""
    ids = {node.key: f"n{number}" for number, node in enumerate(graph.nodes)}
    nodes = [f'  {ids[node.key]}["{_mermaid(_whole(node))}"]' for node in graph.nodes]
    arrows = [
        f"  {ids[arrow.start]} -->" + (f'|"{_mermaid(arrow.words)}"|' if arrow.words else "") + f" {ids[arrow.end]}"
        for arrow in graph.arrows
    ]
    return "\n".join(["graph LR", *nodes, *arrows, ""])


def _dot_looks(node: Node) -> str:
    looks = "style=bold" if _MAIN in node.style.split() else ""
    label = "" if _whole(node) == node.key else f"label={_dot(_whole(node))}"
    return f" [{', '.join(filter(None, (label, looks)))}]" if label or looks else ""


def _dot(text: str) -> str:
    escaped = clean(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _mermaid(text: str) -> str:
    """Escape a name for Mermaid: `#` begins its own escapes, and `<` would be markup."""
    escaped = clean(text).replace("#", "#35;").replace('"', "#quot;")
    return escaped.replace("<", "#lt;").replace(">", "#gt;")


def _whole(node: Node) -> str:
    return f"{node.words}, {node.note}" if node.note else node.words
