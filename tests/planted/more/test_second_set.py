"""The second planted set: it is what it says, and a part of it goes through its own gate.

The whole of it takes an hour of one core; `python -m tests.planted.more` runs it.
"""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch

from tests.planted.deltas import DEFECTS
from tests.planted.more.bases import NAMES, subjects
from tests.planted.more.broken_files import EDITED
from tests.planted.more.broken_training import TRAINED
from tests.planted.more.damage import damage, quality
from tests.planted.more.items import PLACES, Item, second_set
from tests.planted.more.judge import RECORDED, gates, look_at
from tests.planted.more.orders import HALVES, recipe
from tests.planted.more.records import judged_of, keep_damage, keep_judged
from tests.planted.more.report import page
from tests.planted.more.shop import Shop
from tests.small_networks import quiet

HEALTHY = ("digits/lora-qv", "digits/lora-mlp", "digits/full")
BROKEN = {
    "keys_exchanged": "digits/lora-qv",
    "optimiser_saved": "digits/lora-qv",
    "type_unmoved": "digits/lora-mlp",
    "merged_twice": "digits/full",
    "classes_reordered": "digits/full",
}
# A base all the same when it has learnt less; the whole set has all of it.
SHARE, SAMPLES = 0.06, 24


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Give one in which bases and deltas are made once for all tests."""
    return Shop(tmp_path_factory.mktemp("second"), share=SHARE)


@pytest.fixture(scope="module")
def judged(shop):
    """Put a part of the set before the gate."""
    items = [*(item_of("", place) for place in HEALTHY), *(item_of(*one) for one in BROKEN.items())]
    with quiet():
        return {item: look_at(item, shop, shop.kept / "seen", samples=SAMPLES) for item in items}


def item_of(fault, place):
    return Item(recipe(place), fault, "held-out")


def test_the_set_is_as_large_and_varied_as_it_says():
    items = second_set()
    broken = [item for item in items if item.fault]

    assert len(broken) >= 60
    assert len(items) - len(broken) >= 30
    assert {item.recipe.base for item in broken} == set(NAMES)
    assert len({one.modality for one in subjects(Path()).values()}) >= 4
    assert len({item.id for item in items}) == len(items)


def test_no_fault_is_one_of_the_first_sets():
    assert not PLACES.keys() & set(DEFECTS)
    assert PLACES.keys() == EDITED.keys() | TRAINED.keys()


def test_both_halves_hold_the_same_faults_on_other_seeds():
    halves = {half: [item for item in second_set() if item.half == half] for half in HALVES}
    told = [Counter((i.fault, i.recipe.place) for i in items) for items in halves.values()]
    seeds = [{item.order.seed for item in items} for items in halves.values()]

    assert told[0] == told[1]
    assert not seeds[0] & seeds[1]
    assert all(item.other.seed != item.order.seed for item in second_set())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_healthy_ones_pass_smoke_and_golden_outputs(judged):
    healthy = [found for item, found in judged.items() if not item.fault]

    assert len(healthy) == len(HEALTHY)
    assert {found.results[name].verdict for found in healthy for name in RECORDED} == {"pass"}
    assert not [found.stops for found in healthy if gates(found)["golden"]]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_was_changed_after_training_is_stopped_by_golden_outputs(judged):
    broken = {item.fault: found for item, found in judged.items() if item.fault}

    assert broken.keys() == BROKEN.keys()
    assert [fault for fault, found in broken.items() if not gates(found)["golden"]] == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_damage_is_what_the_library_computes_with_both(shop, tmp_path):
    subject, base = shop.subject("digits"), shop.base("digits")
    folder = shop.publish(item_of("classes_reordered", "digits/full"), tmp_path / "broken")
    healthy = shop.delta(item_of("", "digits/full").order) / "delta"

    before, after = (quality(subject, base, path) for path in (healthy, folder))

    networks = [subject.load(path).eval() for path in (healthy, folder)]
    batch = subject.draw("tuned", 40, seed=800, part="measure")
    with torch.no_grad():
        said = [n(pixel_values=batch["pixel_values"]).logits.softmax(-1) for n in networks]
    moved = said[0].argsort(-1)[:, 0]
    assert not torch.equal(moved, said[1].argsort(-1)[:, 0])
    assert damage(subject, before, after).tuned == pytest.approx(before.tuned - after.tuned)
    assert not damage(subject, before, before).is_material


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_whole_base_is_made_judged_kept_and_told(tmp_path):
    shop, out = Shop(tmp_path / "kept"), tmp_path / "out"
    items = [item for item in second_set() if item.recipe.base == "digits"]

    with quiet():
        for item in items:
            keep_damage(item, shop, tmp_path)
            keep_judged(item, shop, tmp_path, out, samples=100)
    records = judged_of(shop.kept, out, items)

    assert len(records) == len(items)
    assert not [r.item.id for r in records if not r.item.fault and gates(r.judged)["golden"]]
    edited = [r for r in records if r.item.fault in EDITED and r.is_material]
    assert not [r.item.id for r in edited if not gates(r.judged)["all"]]
    assert "## What is stopped, held-out half" in page(records)
    assert json.loads(next(out.rglob("*.json")).read_text())["results"] is not None
