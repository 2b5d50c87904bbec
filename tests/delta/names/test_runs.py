"""Runs of components are respelled whole, in order, with their numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltareg.delta.names.runs import respell

COMPONENT = st.sampled_from(["encoder", "block", "0", "12", "weight", "xblock"])


@pytest.mark.parametrize(
    ("renames", "path", "want"),
    [
        ([("a.b", "c")], "x.a.b.w", "x.c.w"),
        ([("a.b", "c")], "x.a.bb.w", "x.a.bb.w"),
        ([("a.b", "c")], "xa.b.w", "xa.b.w"),
        ([("a", "b"), ("b", "c")], "a.w", "c.w"),
        ([("block.{n}", "stages.{n}.blocks")], "m.block.3.0.w", "m.stages.3.blocks.0.w"),
        ([("block.{n}", "stages.{n}.blocks")], "m.block.x.0.w", "m.block.x.0.w"),
        ([("block.{n}", "stages.{n}.blocks")], "m.block.3x.w", "m.block.3x.w"),
        ([("l.{n}.k.{n}", "p.{n}.{n}")], "l.1.k.22.w", "p.1.22.w"),
        ([("l.{n}", "p.{n}")], "l.7", "p.7"),
        ([("^visual", "model.visual")], "visual.w", "model.visual.w"),
        ([("^visual", "model.visual")], "model.visual.w", "model.visual.w"),
        ([("^vit.{n}", "model.{n}")], "x.vit.1.w", "x.vit.1.w"),
        ([("^vit.{n}", "model.{n}")], "vit.1.w", "model.1.w"),
        ([("a+b", "c")], "aab.w", "aab.w"),
    ],
)
def test_a_run_is_replaced_where_it_stands_whole(renames, path, want):
    assert respell(path, renames) == want


@given(st.lists(COMPONENT, min_size=1, max_size=8))
def test_every_number_stays_in_its_order(components):
    path = ".".join(components)

    made = respell(path, [("encoder.block.{n}", "stages.{n}.blocks")])

    numbers = [part for part in components if part.isdecimal()]
    assert [part for part in made.split(".") if part.isdecimal()] == numbers
    assert "encoder.block.0" not in f"{made}."
