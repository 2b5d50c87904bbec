"""Parts of a delta that were set up and never trained."""

from typing import Any

import pytest

from deltareg.delta.kind import Account, WeightUpdate
from deltareg.delta.maths.updates import LowRank, Replacement
from deltareg_verify.engine.engine import WeightChange
from deltareg_verify.judging.checks import all_checks
from tests.verify.bench import SMOKE, sample_bench
from tests.verify.plain_engine import PlainEngine

SPEC = next(spec for spec in SMOKE.checks if spec.name == "idle")
NOTHING: Any = None  # no formula is run here
PRODUCT = LowRank(NOTHING, NOTHING, 1.0)


@pytest.fixture(scope="module")
def bench(cache_dir):
    return sample_bench("tinyllama/lora_qv", cache_dir)


@pytest.fixture
def find(bench):
    """Run the check on changes by target; those of `stored` come as whole weights."""

    def run(sizes, *, stored=()):
        effects = [WeightUpdate(name, Replacement(NOTHING) if name in stored else PRODUCT, {}) for name in sizes]
        changes = tuple(WeightChange(name, rms, 1.0) for name, rms in sizes.items())
        case = bench.case(engine=lambda _: PlainEngine(sizes=changes), account=lambda _: Account(effects, {}))
        return all_checks()["idle"].run(case, SPEC)

    return run


def layers(*sizes, of="q"):
    return {f"layers.{number}.{of}.weight": rms for number, rms in enumerate(sizes)}


def test_a_delta_of_which_every_part_moved_passes(find):
    assert find(layers(0.1, 0.2, 0.1, 0.3)).verdict == "pass"


def test_a_layer_type_of_which_half_stands_still_fails(find):
    finding = find(layers(0.1, 0.2, 0, 0) | layers(0.1, 0.1, 0.1, 0.1, of="v"))

    assert (finding.verdict, finding.code) == ("fail", "partial_application")
    assert "layers.2.q.weight" in finding.detail


def test_a_last_layer_that_no_gradient_reached_is_warned_of(find):
    assert find(layers(0.1, 0.2, 0.1, 0)).verdict == "warn"


def test_a_tower_that_stands_still_as_a_whole_is_warned_of(find):
    tower = {f"vision.{name}": 0.0 for name in layers(1, 1, 1)}

    assert find(layers(0.1, 0.2, 0.1) | tower).verdict == "warn"


def test_experts_to_which_no_token_was_sent_are_warned_of(find):
    experts = {f"layers.0.experts.{number}.up.weight": number % 2 * 0.1 for number in range(6)}

    assert find(experts).verdict == "warn"


def test_a_second_factor_that_is_still_zero_is_named(cache_dir):
    case = sample_bench("bad/dead_zero_b", cache_dir).case()

    finding = all_checks()["idle"].run(case, SPEC)

    assert finding.verdict == "fail"
    assert finding.detail == "4 of 4 weights do not change: lora_B is zero everywhere, as before training"


def test_a_delta_of_which_only_a_new_head_moved_fails(find):
    finding = find(layers(0, 0, 0) | {"classifier.weight": 0.5}, stored=["classifier.weight"])

    assert (finding.verdict, finding.code) == ("fail", "partial_application")
    assert "nothing was trained" in finding.detail


def test_a_full_tune_whose_upper_layers_are_the_bases_is_warned_of(find):
    sizes = layers(0.1, 0.2, 0, 0)

    finding = find(sizes, stored=sizes)

    assert (finding.verdict, finding.value) == ("warn", 0.5)
    assert "frozen" in finding.detail


@pytest.mark.parametrize("sizes", [{}, layers(0.1, 0.2, 0.1)])
def test_whole_weights_and_activations_are_not_asked(find, sizes):
    assert find(sizes, stored=sizes).verdict == "n/a"


def test_a_delta_of_which_nothing_moved_has_no_effect(find):
    finding = find(layers(0, 0, 0))

    assert (finding.verdict, finding.code) == ("fail", "no_effect")
