"""The gate on the planted set: nothing broken passes, next to nothing healthy fails.

A part of the half that no threshold has seen runs always, the whole half in the soak.
"""

import filecmp
from collections import Counter
from dataclasses import replace

import pytest

from deltareg_verify.judging.examine import examine
from tests.planted.bases import SUBJECTS
from tests.planted.deltas import DEFECTS, PLACES, SEEDS, planted_set, publish
from tests.planted.gate import caught_by, look_at, open_bench, open_case, planted_suite
from tests.planted.measure import survey_in_parallel
from tests.planted.mutated import READINGS, survey
from tests.planted.rules import KEPT
from tests.planted.suites import NORM_CAP
from tests.planted.workshop import Workshop
from tests.small_networks import quiet
from tests.verify.bench import SMOKE

HELD_OUT = [planted for planted in planted_set() if planted.half == "held-out"]
# Those whose deltas come from few trainings, so that the part takes seconds.
PREFERRED = ("vit/lora qv", "bert/full", "vit/lora mlp", "vit/full", "llama/lora qv", "vit/vera")
# Those that want a training of their own, and show in the same checks as others; the soak has them.
LEFT_OUT = {"wrong_base", "over_trained"}
# These are bases all the same when they have learnt less, and half of the sentences tell enough;
# the soak has all of them.
SHARES, SENTENCES = {"llama": 0.08, "bert": 0.4, "vit-twin": 0.4}, 32


def place_of(planted):
    return f"{planted.order.recipe.base}/{planted.order.recipe.name}"


def part():
    """Choose one delta for nearly every defect, and some healthy ones."""
    shown = [defect for defect in DEFECTS if defect not in LEFT_OUT]
    chosen = {defect: next(p for p in PREFERRED if p in PLACES[defect]) for defect in shown}
    wanted = {*chosen.items(), *(("", place) for place in PREFERRED)}
    return [planted for planted in HELD_OUT if (planted.defect, place_of(planted)) in wanted]


def passed(found, *, without=frozenset()):
    return {seen.planted.id for seen in found if not set(caught_by(seen)) - without}


def planted_as(start):
    return next(planted for planted in HELD_OUT if planted.id.startswith(start))


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """Give one in which bases and deltas are made once for all tests."""
    return Workshop(tmp_path_factory.mktemp("planted"), shares=SHARES, sentences=SENTENCES)


@pytest.fixture(scope="module")
def seen(workshop):
    """Put the part through the gate, each as the first of its line."""
    with quiet():
        return [look_at(one, workshop, workshop.folder / "seen", is_first=True) for one in part()]


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
    seeds = {half: {p.order.seed for p in planted_set() if p.half == half} for half in SEEDS}

    assert {key[1:] for key in halves if key[0] == "tuning"} == {key[1:] for key in halves if key[0] == "held-out"}
    assert not seeds["tuning"] & seeds["held-out"]


@pytest.mark.parametrize("base", SUBJECTS)
def test_the_suite_asks_all_that_smoke_requires_but_for_one_number(base, tmp_path):
    asked = {spec.name: spec for spec in planted_suite(base, tmp_path).checks}
    required = [spec for spec in SMOKE.checks if spec.required]

    differences = {spec.name for spec in required if asked[spec.name] != spec}
    assert differences == {"norm_ratio"}
    assert asked["norm_ratio"].number("fail_above") == NORM_CAP < 30


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nothing_broken_passes(seen):
    assert {one.planted.defect for one in seen} == {"", *DEFECTS} - LEFT_OUT
    assert [name for name in passed(seen) if not name.startswith("healthy/")] == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_next_to_nothing_healthy_fails(seen):
    healthy = {one.planted.id for one in seen if not one.planted.defect}

    assert len(healthy) >= len(PREFERRED)
    assert len(healthy - passed(seen)) <= 1


@pytest.mark.soak
def test_a_version_worse_than_the_promoted_one_is_caught_beside_it(workshop, tmp_path):
    with quiet():
        worse, healthy = (
            look_at(planted_as(f"{name}/llama/bottleneck"), workshop, tmp_path)
            for name in ("layers_shifted", "healthy")
        )

    assert worse.results["in_domain"].verdict == "pass"
    assert worse.results["in_domain_kept"].code == "regression"
    assert caught_by(healthy) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_same_seed_gives_the_same_files(tmp_path):
    whole = planted_as("stale_alpha/vit/lora-qv")
    planted = replace(whole, order=whole.order.with_(steps=5))

    first, second = (
        publish(planted, Workshop(tmp_path / name, shares={"vit": 0.1}), tmp_path / name / "out") for name in "ab"
    )

    names = sorted(path.name for path in first.iterdir())
    assert filecmp.cmpfiles(first, second, names, shallow=False) == (names, [], [])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_worker_stops_at_the_first_static_failure_and_tells_which(workshop, tmp_path):
    path = publish(planted_as("overflow_f16/vit"), workshop, tmp_path / "out")

    bench = open_bench(path, "vit", workshop)
    results = {result.name: result.verdict for result in examine(open_case(bench, workshop))}

    assert results["overflow"] == "fail"
    assert results["effect"] == "skipped"
    assert set(results) == {spec.name for spec in bench.suite.checks}


@pytest.mark.soak
def test_nothing_broken_of_the_whole_half_passes(tmp_path, figures):
    found = survey_in_parallel(HELD_OUT, tmp_path, jobs=2)

    healthy = {one.planted.id for one in found if not one.planted.defect}
    broken = {one.planted.id for one in found if one.planted.defect}
    figures("planted, broken that pass", f"{len(broken & passed(found))} of {len(broken)}")
    figures("planted, healthy that fail", f"{len(healthy - passed(found))} of {len(healthy)}")
    assert broken & passed(found, without=KEPT) == set()
    assert len(healthy - passed(found)) <= 1


def test_a_mutation_of_the_reading_is_refused(workshop, tmp_path):
    with quiet():
        found = survey(workshop, tmp_path, places=("llama/lora-qv",), ways=READINGS | {"sign_turned"})

    became = {one.way: one.caught for one in found}
    assert became == dict.fromkeys(READINGS, ("push",)) | {"sign_turned": ("passes",)}
