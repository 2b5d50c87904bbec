"""Relatives of versions: a walk finds what networkx finds in the same history, and no more."""

import random

import networkx as nx
import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.lines.family import common_ancestor
from deltareg.db.session import read, write
from deltareg.errors import InvalidInput, NotFound
from deltareg.service.authority.grants import Grant, NamespacePart, Right
from deltareg.service.overview.family import show_family
from deltareg.service.registry import Caller, Registry
from deltareg.store.memory import MemoryStore
from tests.service import rows

LINES, VERSIONS = 6, 60


@pytest.fixture
def registry(engine):
    return Registry(engine, MemoryStore())


@pytest.fixture
def history(engine):
    """Make lines whose versions have random parents and stand on random versions; gives the graph.

    Nodes are references; an arrow leads to what was made of a version.
    """
    chance = random.Random(11)
    maker = rows.caller(engine)
    rows.base(engine)
    lines = [rows.line(engine, f"line-{n}", maker=maker) for n in range(LINES)]
    graph: nx.DiGraph[str] = nx.DiGraph()
    made: list[tuple[int, str]] = []
    with write(engine) as conn:
        count = dict.fromkeys(lines, 0)
        for _ in range(VERSIONS):
            delta_id = chance.choice(lines)
            count[delta_id] += 1
            parents = chance.sample(made, min(len(made), chance.choice((0, 1, 1, 2, 3))))
            below = chance.choice(made) if made and chance.random() < 0.2 else None
            row = rows.add_version(
                conn,
                delta_id,
                parents=[parent for parent, _ in parents],
                base_id=None if below is None else _base_of(conn, *below),
            )
            ref = f"lab/line-{lines.index(delta_id)}:v{count[delta_id]}"
            graph.add_node(ref)
            graph.add_edges_from(((parent, ref) for _, parent in parents), is_parent=True)
            if below is not None:
                graph.add_edge(below[1], ref)
            made.append((row, ref))
        for row, ref in chance.sample(made, 6):
            conn.execute(sa.update(t.versions).where(t.versions.c.id == row).values(deleted_at=1))
            graph.nodes[ref]["is_deleted"] = True
    return graph


def _base_of(conn, version_id, name):
    base_id = conn.execute(sa.select(t.bases.c.id).where(t.bases.c.name == name)).scalar()
    if base_id is not None:
        return base_id
    plain = dict(conn.execute(sa.select(t.bases)).mappings().first())
    values = {key: value for key, value in plain.items() if key != "id"} | _root(name)
    made = sa.insert(t.bases).values(values | {"name": name})
    base_id = conn.execute(made.returning(t.bases.c.id)).scalar_one()
    conn.execute(
        sa.insert(t.version_bases).values(
            base_id=base_id, version_id=version_id, bottom_id=plain["id"], depth=1, recipe="sha256:r"
        )
    )
    return base_id


def _root(name):
    return {"root": f"blake3:{name.encode().hex():0<64}"[:71]}


def shown(registry, at, **steps):
    caller = rows.caller(registry.engine)
    return {one.ref: one for one in show_family(registry, caller, at, **steps).versions.values()}


def _within(graph, start, steps):
    return set(nx.single_source_shortest_path_length(graph, start, cutoff=steps))


def test_a_walk_finds_what_networkx_finds(registry, history):
    live = history.subgraph([n for n, facts in history.nodes.items() if not facts])
    for steps in (0, 1, 3, 50):
        for ref in list(history)[steps::13]:
            down = live if ref in live else history.subgraph([*live, ref])
            expected = _within(history.reverse(), ref, steps) | _within(down, ref, steps)

            found = shown(registry, ref, up=steps, down=steps)

            assert set(found) == expected, (ref, steps)
            before = nx.ancestors(history, ref)
            assert steps < 50 or {each for each in found if each in before} == before


def test_a_line_is_walked_from_all_of_its_versions(registry, history):
    live = history.subgraph([n for n, facts in history.nodes.items() if not facts])
    begun = [ref for ref in live if ref.startswith("lab/line-2:")]
    expected = set().union(*(_within(history.reverse(), ref, 2) | _within(live, ref, 1) for ref in begun))

    assert set(shown(registry, "lab/line-2", up=2, down=1)) == expected


def test_all_edges_are_there_and_no_other(registry, history):
    live = history.subgraph([n for n, facts in history.nodes.items() if not facts])

    found = show_family(registry, rows.caller(registry.engine), "", up=0, down=0).versions
    edges = {
        (found[before].ref, one.ref)
        for one in found.values()
        for before in (*one.parents, *([one.stands_on] if one.stands_on is not None else []))
    }

    assert edges == set(live.edges)


def test_a_base_has_what_stands_on_it_and_what_was_made_of_that(registry, history):
    found = shown(registry, "tiny", up=0, down=50)

    plain = {ref for ref, one in found.items() if one.base == "tiny"}
    live = history.subgraph([n for n, facts in history.nodes.items() if not facts])
    assert plain
    assert set(found) == plain.union(*(_within(live, ref, 50) for ref in plain))


def test_the_way_does_not_lead_through_what_is_not_the_callers_to_see(registry, history):
    reader = Caller("eve", 1, None, frozenset({Grant(Right.READ, NamespacePart("lab", "line-1"))}))
    mine = [ref for ref, facts in history.nodes.items() if "line-1:" in ref and not facts]
    visible = history.subgraph([ref for ref in history if "line-1:" in ref])

    found = show_family(registry, reader, mine[0], up=50, down=50).versions

    live = visible.subgraph([ref for ref in visible if ref in mine])
    assert {one.ref for one in found.values()} == _within(visible.reverse(), mine[0], 50) | _within(live, mine[0], 50)
    with pytest.raises(NotFound):
        show_family(registry, reader, "lab/line-2", up=1, down=1)


def test_the_newest_ancestor_in_common_is_one_that_no_other_descends_from(engine, history):
    parents = nx.DiGraph()
    parents.add_nodes_from(history)
    parents.add_edges_from(edge for edge in history.edges if history.edges[edge].get("is_parent", False))
    chance = random.Random(5)
    shared = 0
    with read(engine) as conn:
        ids = {f"lab/{line}:v{number}": row_id for row_id, line, number in _named(conn)}
        for _ in range(60):
            several = chance.sample(list(history), chance.choice((2, 3)))
            common = set.intersection(*(nx.ancestors(parents, one) | {one} for one in several))

            found = common_ancestor(conn, [ids[one] for one in several])

            if found is None:
                assert common == set()
                continue
            shared += 1
            ref = f"{found.namespace}/{found.line}:v{found.number}"
            assert ref in common
            assert not nx.descendants(parents, ref) & common
    assert shared > 10


def _named(conn):
    query = sa.select(t.versions.c.id, t.deltas.c.name, t.versions.c.number)
    return conn.execute(query.join(t.deltas, t.deltas.c.id == t.versions.c.delta_id)).all()


def test_what_is_too_much_is_cut_and_says_so(registry, history):
    found = show_family(registry, rows.caller(registry.engine), "", up=0, down=0, limit=9)

    assert (len(found.versions), found.is_cut) == (9, True)


def test_what_others_have_does_not_fill_the_list_of_who_sees_little(registry, history):
    reader = Caller("eve", 1, None, frozenset({Grant(Right.READ, NamespacePart("lab", "line-1"))}))
    mine = {ref for ref, facts in history.nodes.items() if "line-1:" in ref and not facts}
    all_of_it = shown(registry, "tiny", up=0, down=0)
    newest = len(mine & set(all_of_it))

    found = show_family(registry, reader, "tiny", up=0, down=0, limit=newest)

    assert newest < len(all_of_it)
    assert {one.ref for one in found.versions.values()} == mine & set(all_of_it)
    assert not found.is_cut


def test_what_is_not_there_is_said(registry, history):
    caller = rows.caller(registry.engine)
    wrong = [
        ("lab/none", 1, NotFound),
        ("none", 1, NotFound),
        ("lab/line-1:v999", 1, NotFound),
        ("a/b/c/d", 1, InvalidInput),
        ("lab/line-1", 51, InvalidInput),
    ]

    for at, steps, error in wrong:
        with pytest.raises(error):
            show_family(registry, caller, at, up=steps, down=0)
