"""The gate on the planted set: nothing broken passes, next to nothing healthy fails.

A part of the half that no threshold has seen runs always, the whole half in the soak.
"""

import filecmp
from collections import Counter

import pytest

from deltareg_verify.examine import examine
from tests.planted.deltas import DEFECTS, PLACES, planted_set, publish
from tests.planted.gate import caught_by, planted_suite
from tests.planted.measure import survey, survey_in_parallel
from tests.planted.workshop import Workshop
from tests.verify.bench import Bench

HELD_OUT = [planted for planted in planted_set() if planted.half == "held-out"]
# Those whose deltas come from few trainings, so that the part takes seconds.
PREFERRED = (
    "vit/lora qv", "bert/full", "vit/lora mlp", "llama/lora qv", "bert/lora dense", "vit/full",
    "bert/lora heavy", "bert/ia3", "vit/vera", "vit/oft",
)  # fmt: skip
HEALTHY = {*PREFERRED, "llama/ia3", "vit/bitfit"}


def place_of(planted):
    return f"{planted.order.recipe.base}/{planted.order.recipe.name}"


def part():
    """Choose one delta for every defect, and some healthy ones."""
    chosen = {defect: next(p for p in PREFERRED if p in PLACES[defect]) for defect in DEFECTS}
    wanted = {*chosen.items(), *(("", place) for place in HEALTHY)}
    return [planted for planted in HELD_OUT if (planted.defect, place_of(planted)) in wanted]


def passed(found):
    return {seen.planted.id for seen in found if not caught_by(seen)}


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Put the part through the gate."""
    return survey(part(), tmp_path_factory.mktemp("planted"))


def test_the_set_is_large_and_varied():
    healthy = [planted for planted in planted_set() if not planted.defect]
    broken = [planted for planted in planted_set() if planted.defect]

    assert len(healthy) >= 60
    assert len(broken) >= 60
    assert len({planted.order.recipe.base for planted in broken}) >= 3
    assert len({planted.order.recipe.kind for planted in healthy}) >= 5
    assert len({planted.id for planted in planted_set()}) == len(planted_set())


def test_both_halves_hold_the_same_defects_on_other_seeds():
    halves = Counter((p.half, p.defect, place_of(p)) for p in planted_set())
    seeds = {half: {p.order.seed for p in planted_set() if p.half == half} for half, *_ in halves}

    assert {key[1:] for key in halves if key[0] == "tuning"} == {
        key[1:] for key in halves if key[0] == "held-out"
    }
    assert not seeds["tuning"] & seeds["held-out"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nothing_broken_passes(seen):
    assert {one.planted.defect for one in seen} == {"", *DEFECTS}
    assert [name for name in passed(seen) if not name.startswith("healthy/")] == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_next_to_nothing_healthy_fails(seen):
    healthy = {one.planted.id for one in seen if not one.planted.defect}

    assert len(healthy) >= len(HEALTHY)
    assert len(healthy - passed(seen)) <= 1


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_same_seed_gives_the_same_files(tmp_path):
    planted = next(p for p in HELD_OUT if p.id.startswith("stale_alpha/vit/lora-qv"))

    first, second = (
        publish(planted, Workshop(tmp_path / name), tmp_path / name / "out") for name in "ab"
    )

    names = sorted(path.name for path in first.iterdir())
    assert filecmp.cmpfiles(first, second, names, shallow=False) == (names, [], [])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_worker_stops_at_the_first_static_failure_and_tells_which(tmp_path):
    planted = next(p for p in HELD_OUT if p.id.startswith("overflow_f16/vit"))
    workshop = Workshop(tmp_path)
    path = publish(planted, workshop, tmp_path / "out")

    bench = Bench(path, workshop.base("vit"), tmp_path / "cache", suite=planted_suite())
    results = {result.name: result.verdict for result in examine(bench.case())}

    assert results["overflow"] == "fail"
    assert results["effect"] == "skipped"
    assert set(results) == {spec.name for spec in planted_suite().checks}


@pytest.mark.soak
def test_nothing_broken_of_the_whole_half_passes(tmp_path, figures):
    found = survey_in_parallel(HELD_OUT, tmp_path, jobs=2)

    healthy = {one.planted.id for one in found if not one.planted.defect}
    broken = {one.planted.id for one in found if one.planted.defect}
    figures("planted, broken that pass", f"{len(broken & passed(found))} of {len(broken)}")
    figures("planted, healthy that fail", f"{len(healthy - passed(found))} of {len(healthy)}")
    assert broken & passed(found) == set()
    assert len(healthy - passed(found)) <= 1
