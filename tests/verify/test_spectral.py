"""Strongest directions of products, from their factors."""

import numpy as np
import pytest

from deltareg.delta.kind import Account, WeightUpdate
from deltareg.delta.maths.low_rank import LowRankChange
from deltareg_verify.engine.engine import WeightChange
from deltareg_verify.judging.checks import all_checks
from deltareg_verify.judging.checks.spectral import singular_values
from tests.verify.bench import SMOKE, sample_bench
from tests.verify.plain_engine import PlainEngine

SPEC = next(spec for spec in SMOKE.checks if spec.name == "spectral")
NAN = float("nan")


class Product:
    """An update that is a product of factors at hand."""

    def __init__(self, left, right, scale=1.0):
        self.parts = left, right, scale

    def factors(self, ops):
        return self.parts


@pytest.fixture(scope="module")
def bench(cache_dir):
    return sample_bench("tinyllama/lora_qv", cache_dir)


@pytest.fixture
def find(bench):
    """Run the check on products by target, each of a weight of size one."""

    def run(products):
        effects = [WeightUpdate(name, update, {}) for name, update in products.items()]
        changes = tuple(WeightChange(name, 0.1, 1.0) for name in products)
        case = bench.case(engine=lambda _: PlainEngine(sizes=changes), account=lambda _: Account(effects, {}))
        return all_checks()["spectral"].run(case, SPEC)

    return run


def products(*scales):
    """Make a product for every layer that is `scale` strong in its one direction."""
    left, right = np.zeros((16, 2), np.float32), np.zeros((2, 9), np.float32)
    left[3, 0] = right[0, 5] = 1
    return {f"layers.{n}.q.weight": Product(left, right, s) for n, s in enumerate(scales)}


def test_singular_values_are_those_of_the_dense_product():
    random = np.random.default_rng(1)
    left, right = random.normal(size=(16, 3)), random.normal(size=(3, 9))

    found = singular_values(LowRankChange(left, right, -2.0))

    assert found == pytest.approx(np.linalg.svd(-2 * left @ right, compute_uv=False)[:3])


def test_a_factor_with_more_rows_than_the_weight_has_the_same_values():
    random = np.random.default_rng(1)
    left, right = random.normal(size=(4, 8)), random.normal(size=(8, 5))

    found = singular_values(LowRankChange(left, right, 1.0))

    assert found[:4] == pytest.approx(np.linalg.svd(left @ right, compute_uv=False))


def test_a_direction_is_held_against_noise_of_the_weights_size(find):
    finding = find(products(7, 7, 7))

    assert finding.verdict == "pass"
    assert finding.value == pytest.approx(1)  # √16 + √9 is 7
    assert "effective rank 1.0" in finding.detail


@pytest.mark.parametrize("scale", [250, NAN])
def test_a_direction_that_drowns_the_weight_fails(find, scale):
    finding = find(products(scale, scale))

    assert (finding.verdict, finding.code) == ("fail", "norm_ratio")


def test_one_layer_far_above_its_like_fails(find):
    finding = find(products(1, 1, 1, 25))

    assert (finding.verdict, finding.code) == ("fail", "norm_ratio")
    assert finding.value == pytest.approx(25)
    assert "layers.3.q.weight" in finding.detail


def test_a_delta_without_products_is_not_asked(find):
    assert find({}).verdict == "n/a"
