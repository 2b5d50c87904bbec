"""The lineage explorer: readable whatever there is, its state in its address, files of the same."""

import networkx as nx
import pydot
import pytest

from deltareg.pages.lineage_graph import SINGLE_MOST, GraphSelection, draw_together
from deltareg.service.overview.family import Relative, VersionFamily

# pydot calls its own parser by names that this has given up.
READS_DOT = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
AT = "/ui/lineage?at=team/lora:v2"


def relative(number, line="a/b", *, row=None, parents=(), base="llama", channels=(), stands_on=None):
    row = number if row is None else row
    return Relative(
        row,
        line,
        number,
        "lora",
        base,
        stands_on,
        tuple(parents),
        tuple(channels),
        is_made=bool(parents),
        digest=f"sha256:{row}",
        is_deleted=False,
        is_revoked=False,
    )


def family(relatives, *, at="", sort="everything", focus=None):
    return VersionFamily(at, sort, focus, {one.id: one for one in relatives}, is_cut=False)


def drawn(found, **shown):
    nodes, arrows = draw_together(found, GraphSelection(**shown))
    return {node.key: node for node in nodes}, {(arrow.start, arrow.end): arrow.relation for arrow in arrows}


CHAIN = [relative(n, parents=[n - 1] if n > 1 else []) for n in range(1, 10)]


def test_a_line_is_one_node_until_it_is_opened():
    whole, edges = drawn(family(CHAIN))
    opened, _ = drawn(family(CHAIN), opened=frozenset({"a/b"}))

    assert (whole["a/b"].versions, whole["a/b"].first, whole["a/b"].last) == (9, 1, 9)
    assert edges == {("base:llama", "a/b"): "base"}
    assert set(opened) == {"base:llama", *(f"a/b:v{n}" for n in range(1, 10))}


def test_a_version_cuts_its_line_in_two():
    nodes, edges = drawn(family(CHAIN, at="a/b:v4", sort="version", focus=4))

    assert set(edges) == {("base:llama", "a/b:v1-v3"), ("a/b:v1-v3", "a/b:v4"), ("a/b:v4", "a/b:v5-v9")}
    assert [key for key, node in nodes.items() if node.is_here] == ["a/b:v4"]


def test_of_a_long_line_the_newest_versions_are_drawn_by_themselves():
    long = [relative(n, parents=[n - 1] if n > 1 else []) for n in range(1, 200)]
    nodes, _ = drawn(family(long, at="a/b", sort="delta"))
    everything, _ = drawn(family(long), is_all=True)

    assert len(nodes) == 1 + 1 + SINGLE_MOST
    assert nodes[f"a/b:v1-v{199 - SINGLE_MOST}"].versions == 199 - SINGLE_MOST
    assert len(everything) == 1 + 199


def test_what_is_alike_is_folded_and_what_serves_comes_first():
    lines = [relative(1, f"a/l{n}", row=n, channels=["prod"] if n == 3 else []) for n in range(1, 41)]
    nodes, edges = drawn(family(lines), most=5)
    wide, _ = drawn(family(lines), most=40)

    (more,) = (node for node in nodes.values() if node.sort == "more")
    assert (more.name, more.versions) == ("+35 more deltas", 35)
    assert ("base:llama", more.key) in edges
    assert {"a/l3:v1", "a/l40:v1", "a/l3@prod"} <= set(nodes)
    assert len(nodes) == 1 + 5 + 1 + 1
    assert not any(node.sort == "more" for node in wide.values())


def test_lines_that_feed_each_other_still_stand_on_their_base():
    both = [
        relative(1, "a/x", row=1),
        relative(1, "a/y", row=2, parents=[1]),
        relative(2, "a/x", row=3, parents=[2]),
        relative(2, "a/y", row=4, parents=[3]),
    ]
    _, edges = drawn(family(both))

    assert {("a/x", "a/y"), ("a/y", "a/x"), ("base:llama", "a/x")} == set(edges)


def test_a_stack_and_a_merge_are_shown_as_what_they_are():
    found = [
        relative(1, row=1),
        relative(1, "a/c", row=2),
        relative(1, "a/m", row=3, parents=[1, 2]),
        relative(1, "a/s", row=4, base="a/b:v1", stands_on=1),
    ]
    nodes, edges = drawn(family(found))

    assert nodes["a/m:v1"].parents == 2
    assert edges["a/b:v1", "a/s:v1"] == "base"
    assert [key for key, node in nodes.items() if node.sort == "base"] == ["base:llama"]


def test_a_merge_of_one_version_is_no_plain_child(desk, pages):
    desk.client(principal="maker").merge([("team/lora:v1", 0.5)], "team/half")

    around = pages.get("/ui/lineage?show=versions&format=json").json()
    drawing = pages.get("/ui/lineage?at=team/half:v1").text.partition('class="graph"')[2]

    found = {node["key"]: node for node in around["nodes"]}
    assert (found["team/half:v1"]["parents"], found["team/half:v1"]["is_merge"]) == (1, True)
    assert not found["team/lora:v2"]["is_merge"]
    assert "◇ merge, " in drawing.partition("</svg>")[0]


@READS_DOT
def test_what_is_shown_is_what_is_written(pages):
    twin = pages.get(f"{AT}&show=versions&format=json").json()
    dot = pages.get(f"{AT}&show=versions&format=dot")
    mermaid = pages.get(f"{AT}&show=versions&format=mermaid")

    read = pydot.graph_from_dot_data(dot.text)
    assert read is not None
    found = nx.nx_pydot.from_pydot(read[0])
    names = {key.strip('"') for key in found.nodes}
    edges = {(a.strip('"'), b.strip('"')) for a, b, _ in found.edges}
    assert names == {node["key"] for node in twin["nodes"]}
    assert edges == {(arrow["start"], arrow["end"]) for arrow in twin["arrows"]}
    assert ("base:tinyllama", "team/lora:v2") in edges
    assert ("team/lora:v2", "team/lora@prod") in edges
    assert dot.headers["Content-Disposition"] == 'attachment; filename="lineage.dot"'
    assert mermaid.text.startswith("graph LR\n")


def test_everything_leads_on_and_comes_back(pages):
    for path in (
        "/ui/lineage",
        AT,
        "/ui/lineage?at=team/lora",
        "/ui/lineage?at=base:tinyllama",
        "/ui/deltas/team/lora/v2/lineage",
    ):
        text = pages.get(path).text
        drawing = text.partition('class="graph"')[2].partition("</svg>")[0]
        links = {part.partition('"')[0] for part in drawing.split('<a href="')[1:]}
        assert links
        for link in links:
            assert pages.get(link.replace("&amp;", "&")).status_code == 200, link


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("at=team/none", 404),
        ("at=none", 404),
        ("at=a/b/c/d", 422),
        ("up=51", 422),
        ("most=9999", 422),
        ("down=-1", 422),
        ("open=x", 422),
    ],
)
def test_what_cannot_be_shown_is_said(pages, asked, status):
    assert pages.get(f"/ui/lineage?{asked}").status_code == status
