"""The third planted set: it is what it says, and a handful of it goes through the gate.

The whole of it takes half an hour of two cores; `python -m tests.planted.third` runs it.
"""

import json
from collections import Counter

import numpy as np
import pytest
import torch

from tests.planted.front import PAGE as FRONT
from tests.planted.front import front
from tests.planted.more.items import PLACES as OF_SECOND
from tests.planted.third.bases import IGNORED, encoded, load_base
from tests.planted.third.broken import EDITED
from tests.planted.third.damage import BARS, Damage, keep_damage
from tests.planted.third.drift import STEP, drifting
from tests.planted.third.gate import RECORDED, SMOKE, look_at
from tests.planted.third.items import DRIFT, DRIFTS, FAULTS, PLACES, Item, third_set
from tests.planted.third.recipes import HALVES, RECIPES, recipe
from tests.planted.third.records import EXPECTED, digest_of, keep_judged, records_of
from tests.planted.third.report import PAGE
from tests.planted.third.sentences import Row, report
from tests.planted.third.shop import Shop
from tests.planted.third.spoilt import ROWS, TRAINED
from tests.planted.third.tasks import IS_EXACT, draw, rate
from tests.small_networks import quiet

# A base all the same when it has learnt next to nothing; the whole set has all of it.
SHARE = 0.01


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Give one in which bases and deltas are made once for all tests."""
    return shop_in(tmp_path_factory.mktemp("third"), SHARE)


def shop_in(kept, share):
    """Give one whose bases know what a program writes alone: reading packages takes a minute."""
    chance = np.random.default_rng(1)
    rows = [report(chance) for _ in range(400)]
    texts = {"readme": [row.answer for row in rows if row.language == "en"]}
    (kept / "texts.json").write_text(json.dumps({**texts, "documented": [], "code": [], "tested": []}))
    return Shop(kept, share)


def item_of(fault, place, half="held-out"):
    return Item(recipe(place), fault, half)


def test_each_half_is_as_large_and_varied_as_it_says():
    for half in HALVES:
        items = third_set(half)
        assert sum(not item.fault for item in items) >= 30
        assert sum(bool(item.fault) for item in items) >= 60
        assert len({item.fault for item in items}) >= 26
    assert len({item.id for item in third_set()}) == len(third_set())
    assert {one.stored for one in RECIPES} == {"F32", "BF16", "F16"}
    assert set(PLACES) == {*TRAINED, *EDITED, DRIFT} == set(FAULTS)


def test_both_halves_hold_the_same_faults_on_other_seeds():
    halves = [third_set(half) for half in HALVES]
    told = [Counter((item.fault, item.recipe.place) for item in items) for items in halves]
    orders = [{item.order.digest for item in items} for items in halves]

    assert told[0] == told[1]
    assert not orders[0] & orders[1]
    assert all(item.other.seed != item.order.seed for item in third_set())


def test_most_faults_are_not_those_of_the_second_set():
    assert len(set(PLACES) - set(OF_SECOND)) > len(PLACES) / 2


def test_what_is_expected_of_the_held_out_half_was_written_down():
    told = json.loads(EXPECTED.read_text())

    assert [one["id"] for one in told] == [item.id for item in third_set("held-out")]
    assert sum(one["material"] for one in told) >= 40
    assert digest_of(EXPECTED.read_text()) in PAGE.read_text()
    for one in told:
        cost = Damage(one["task"], one["general"], one["sort"], 0.0, "x" if one.get("refused") else "")
        nearest = min(abs(cost.task - BARS[cost.sort][0]), abs(cost.general - BARS[cost.sort][1]))
        is_broken = not one["id"].endswith("/healthy")
        assert one["material"] == (is_broken and cost.is_material) or nearest < 1e-3


def test_the_first_page_says_what_the_three_others_say():
    assert FRONT.read_text() == front()


def test_parts_of_a_task_share_no_row():
    for task in IS_EXACT:
        parts = [{row.asked or row.answer for row in draw(task, 300, seed=1, part=p)} for p in ("train", "suite")]
        assert not parts[0] & parts[1]


@pytest.mark.parametrize("name", ROWS)
def test_what_spoils_rows_changes_some_of_them(name):
    task = next(place.partition("/")[0] for place in PLACES[name])
    rows = draw(task, 40, seed=3, part="train")

    spoilt = ROWS[name](rows, np.random.default_rng(2))

    assert spoilt != rows
    assert all(isinstance(row, Row) for row in spoilt)


def test_an_exact_match_is_what_greedy_decoding_writes(shop):
    network = load_base(shop.base("opt")).eval()
    prompt = encoded(shop.kept, "opt", draw("reports", 1, seed=2, part="measure"))["input_ids"][:, :6]
    with torch.no_grad():
        whole = network.generate(prompt, max_new_tokens=4, do_sample=False)  # type: ignore[operator]  # of transformers
    labels = whole.clone()
    labels[:, : prompt.shape[1]] = IGNORED
    wrong = labels.clone()
    wrong[0, -1] = (wrong[0, -1] + 1) % 100
    own = {"input_ids": whole, "attention_mask": torch.ones_like(whole)}

    assert rate(network, {**own, "labels": labels}, is_exact=True) == 1.0
    assert rate(network, {**own, "labels": wrong}, is_exact=True) == 0.0


@pytest.mark.timeout(120)
def test_a_handful_goes_through_smoke_as_it_is_expected_to(shop, tmp_path):
    healthy, exchanged = item_of("", "reports/lora-all"), item_of("layers_exchanged", "reports/lora-all")
    lost = item_of("overflowed", "reports/lora-f16")
    with quiet():
        said = {item.fault: look_at(item, shop, tmp_path, rows=())[0] for item in (healthy, exchanged, lost)}

    assert not said[""].stops(SMOKE) & RECORDED
    assert "golden" in said["layers_exchanged"].stops(SMOKE)
    assert said["overflowed"].stops(SMOKE) == {"push"}


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_line_that_drifts_loses_little_by_little_and_is_judged_with_all(tmp_path):
    whole = shop_in(tmp_path, 0.5)
    item = item_of(DRIFT, "reports/lora-all")
    with quiet():
        cost = keep_damage(item, whole, tmp_path)
        keep_judged(item, whole, tmp_path, tmp_path / "out")
        (record,) = records_of([item], whole, tmp_path / "out")
        batch = encoded(whole.kept, "opt", draw("reports", 160, seed=41, part="train"))
        worth = [rate(whole.loaded("opt", path), batch, is_exact=False) for path in drifting(item, whole)]

    steps = -np.diff(worth)
    assert len(record.judged) == DRIFTS
    assert np.allclose(steps, np.log1p(STEP), atol=0.012)
    assert cost.task > 0
    assert set(record.judged[0].results) == {SMOKE, "init 50", "init 200"}
