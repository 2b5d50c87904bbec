"""Values that a server's dtype cannot hold."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from deltareg.delta.maths.low_rank import LowRankChange
from deltareg_verify.judging.checks import all_checks
from deltareg_verify.judging.checks.overflow import largest_element
from tests.verify.bench import SAMPLES, SMOKE, Bench, listed, sample_base, sample_bench

SPEC = next(spec for spec in SMOKE.checks if spec.name == "overflow")


@pytest.fixture
def find(tmp_path, cache_dir):
    """Change the tensors and the config of a sample and run the check."""

    def run(sample, change):
        entry = listed("deltas")[sample]
        folder = shutil.copytree(SAMPLES / entry["path"], tmp_path / "delta")
        for path in folder.glob("*.safetensors"):
            tensors = load_file(path)
            change(tensors)
            save_file(tensors, path, {"format": "pt"})
        bench = Bench(folder, sample_base(entry["base"]), cache_dir)
        return all_checks()["overflow"].run(bench.case(), SPEC)

    return run


def test_a_healthy_delta_passes(cache_dir):
    case = sample_bench("tinyllama/lora_qv", cache_dir).case()

    assert all_checks()["overflow"].run(case, SPEC).verdict == "pass"


def test_a_factor_that_float16_cannot_hold_fails_though_the_product_is_right(find):
    def unbalance(tensors):
        for name, value in tensors.items():
            value.mul_(2.0**20 if "lora_A" in name else 2.0**-20)

    finding = find("tinyllama/lora_qv", unbalance)

    assert (finding.verdict, finding.code) == ("fail", "overflow_after_cast")
    assert "F16" in finding.detail
    assert "lora_A" in finding.detail


def test_the_least_float32_fails_in_bfloat16(find):
    def suppress(tensors):
        if "model.embed_tokens.weight" in tensors:
            tensors["model.embed_tokens.weight"][-1, -1] = torch.finfo(torch.float32).min

    finding = find("tinyllama/full", suppress)

    assert (finding.verdict, finding.code) == ("fail", "overflow_after_cast")
    assert "BF16: model.embed_tokens.weight" in finding.detail


def test_factors_that_fit_and_a_product_that_does_not_fail(find):
    def enlarge(tensors):
        for value in tensors.values():
            value.mul_(10_000 / float(value.abs().max()))

    finding = find("tinyllama/lora_qv", enlarge)

    assert (finding.verdict, finding.code) == ("fail", "overflow_after_cast")
    assert "q_proj.weight" in finding.detail


def test_the_bound_from_factors_is_no_less_than_the_largest_element():
    random = np.random.default_rng(1)
    change = LowRankChange(random.normal(size=(6, 2)), random.normal(size=(2, 5)), -3.0)

    assert largest_element(change) >= np.abs(-3.0 * change.left @ change.right).max()
