"""Graphs: laid out from left to right without overlap, and written so that others read the same."""

import itertools

import networkx as nx
import pydot
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltareg.drawing.graph import Arrow, Graph, Node
from deltareg.drawing.graph_plot import graph_svg
from deltareg.drawing.graph_texts import to_dot, to_mermaid
from deltareg.drawing.layers import lay_out

# pydot calls its own parser by names that this has given up.
READS_DOT = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
HOSTILE = [
    'a"b',
    "back\\slash",
    "tail\\",
    "<b>x</b>",
    "]-->evil",
    "#quot;",
    "n0",
    "end",
    "team/lora:v1",
    "ü, é",
    '"];x[label="y',
    "digraph",
    "a\nb",
]
_KEYS = [f"k{n}" for n in range(14)]
graphs = st.lists(st.tuples(st.sampled_from(_KEYS), st.sampled_from(_KEYS)), max_size=40)


@given(graphs)
def test_arrows_lead_to_the_right_unless_they_close_a_circle(arrows):
    layout = lay_out(_KEYS, arrows)
    graph = nx.DiGraph([pair for pair in arrows if pair[0] != pair[1]])

    places = layout.places
    spots = [*places.values(), *(bend for bends in layout.bends.values() for bend in bends)]
    if nx.is_directed_acyclic_graph(graph):
        assert all(places[start][0] < places[end][0] for start, end in graph.edges)
        assert layout.layers == nx.dag_longest_path_length(graph, default_weight=1) + 1
    for layer in range(layout.layers):
        heights = sorted(height for level, height in spots if level == layer)
        assert all(b - a > 0.999 for a, b in itertools.pairwise(heights))
    for (start, end), bends in layout.bends.items():
        levels = [places[start][0], *(level for level, _ in bends), places[end][0]]
        assert all(abs(b - a) == 1 for a, b in itertools.pairwise(levels))
    assert lay_out(_KEYS, arrows) == layout


def test_a_tree_has_no_crossing():
    arrows = [("r", f"c{n}") for n in range(4)]
    arrows += [(f"c{n}", f"g{(n * 3) % 4}") for n in range(4)]
    layout = lay_out(["r", *(f"{k}{n}" for k in "cg" for n in range(4))], arrows)

    order = sorted(range(4), key=lambda n: layout.places[f"c{n}"][1])
    below = [layout.places[f"g{(n * 3) % 4}"][1] for n in order]
    assert below == sorted(below)


@READS_DOT
def test_graphviz_reads_what_was_written():
    nodes = [Node(name, name, style="this" if n == 3 else "") for n, name in enumerate(HOSTILE)]
    arrows = [Arrow(a, b, "made of") for a, b in itertools.pairwise(HOSTILE)]

    read = pydot.graph_from_dot_data(to_dot(Graph(nodes, arrows)))
    assert read is not None
    found = nx.nx_pydot.from_pydot(read[0])

    def plain(text):
        return text.strip('"').replace('\\"', '"').replace("\\\\", "\\")

    shown = [name.replace("\n", " ") for name in HOSTILE]
    assert {plain(name) for name in found.nodes} == set(shown)
    assert {(plain(a), plain(b)) for a, b, _ in found.edges} == set(itertools.pairwise(shown))
    assert [plain(name) for name, looks in found.nodes.items() if looks] == [HOSTILE[3]]


def test_names_do_not_leave_their_quotes_in_mermaid():
    nodes = [Node(name, name) for name in HOSTILE]
    lines = to_mermaid(Graph(nodes, [Arrow(HOSTILE[0], HOSTILE[4], 'x"|y')])).splitlines()

    assert lines[0] == "graph LR"
    assert all(line.count('"') == 2 and "<" not in line for line in lines[1:])
    assert lines[-1] == '  n0 -->|"x#quot;|y"| n4'


def test_a_drawing_holds_every_node_and_leads_on():
    graph = Graph([Node(name, name, "note", to="/ui/x?a=1&b=2") for name in HOSTILE], [])
    text = str(graph_svg(graph, "<label>"))

    assert text.count('<a href="/ui/x?a=1&amp;b=2">') == len(HOSTILE)
    assert "<b>" not in text
    assert "&lt;label&gt;" in text
