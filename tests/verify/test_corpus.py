"""Real deltas that other libraries made, on the bases that they made them for, on CPU and GPU."""

from functools import partial

import numpy as np
import pytest

from deltareg_verify.judging.examine import examine
from deltareg_verify.judging.verdict import judge
from tests import corpus
from tests.verify.bench import SMOKE, Bench
from tests.verify.oracles import attached_logits, expected_logits, probe_of

KINDS = {"lora", "full", "bitfit"}
DELTAS = {
    delta["id"]: delta
    for delta in corpus.manifest()["deltas"]
    if delta["lib"] in {"peft", "raw"} and delta["registry_kind"].split("+")[0] in KINDS
}
BAD = {bad["id"]: bad for bad in corpus.manifest()["bad"] if bad["stage"] == "verify"}
IDS = sorted(DELTAS) or [pytest.param("", marks=pytest.mark.skip(reason=corpus.MISSING))]
BAD_IDS = ["bad/dead_zero_B", "bad/exploding"]
DEVICES = ["cpu", pytest.param("cuda:0", marks=pytest.mark.gpu)]
pytestmark = pytest.mark.skipif(not corpus.has_corpus(), reason=corpus.MISSING)


@pytest.fixture
def open_delta(cache_dir):
    """Open a delta of the corpus on a device."""
    return partial(_open, cache_dir)


def _open(cache_dir, delta, device="cpu"):
    convention = "additive" if delta.get("format") == "additive" else ""
    base = corpus.base_folder(delta["base"])
    path = corpus.CORPUS / delta["path"]
    return Bench(path, base, cache_dir, device=device, convention=convention)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("delta_id", IDS)
def test_outputs_with_the_delta_attached_are_the_librarys(open_delta, delta_id, device):
    delta = DELTAS[delta_id]
    expected = expected_logits(delta)
    bench = open_delta(delta, device)

    found = attached_logits(bench, delta)

    tolerance = delta["tolerance"]["logits_atol"]
    if device != "cpu":
        tolerance = max(tolerance, 1e-3)
    assert found.shape == expected.shape
    assert np.max(np.abs(found - expected)) <= tolerance


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("delta_id", IDS)
def test_the_verdict_is_what_the_corpus_expects(open_delta, delta_id, device):
    delta = DELTAS[delta_id]

    results = list(examine(open_delta(delta, device).case()))

    verdict = judge(SMOKE, results)
    assert verdict in {"pass": {"pass"}, "either": {"pass", "fail"}}[delta["expect_verify"]], results


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("bad_id", BAD_IDS)
def test_what_must_fail_fails_with_its_code(open_delta, bad_id, device):
    bad = BAD[bad_id]

    results = list(examine(open_delta(bad, device).case()))

    assert judge(SMOKE, results) == "fail"
    codes = {result.code for result in results if result.verdict == "fail"}
    assert codes == {bad["must"].removeprefix("reject:")}


@pytest.mark.parametrize("delta_id", IDS)
@pytest.mark.gpu
def test_a_gpu_computes_what_the_processor_does(open_delta, delta_id):
    delta = DELTAS[delta_id]
    inputs, _ = probe_of(delta["base"])

    here, there = (open_delta(delta, device).engine().outputs_for("attached", inputs) for device in ("cpu", "cuda:0"))

    tolerance = max(delta["tolerance"]["logits_atol"], 1e-3)
    assert all(np.max(np.abs(here[name] - there[name])) <= tolerance for name in here)
