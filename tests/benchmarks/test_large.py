"""The benchmark of large bases, on a small one: what it compares is verified in a bound too."""

import sys
from types import SimpleNamespace

import pytest

from tests.benchmarks import bench_large

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: /proc and limits")
LEFT_BYTES = 280 << 20  # beside what torch and its libraries take, which differs between builds


@pytest.mark.soak  # a figure; `tests/verify/test_streamed.py` holds what it is made of
@pytest.mark.timeout(600)  # two whole runs over as many bytes as a budget leaves no room for
def test_a_base_larger_than_the_budget_is_verified_within_it(tmp_path):
    shape = bench_large.shape_of(0.7, hidden=1024)
    budget_bytes = bench_large.start_bytes(tmp_path) + LEFT_BYTES
    options = SimpleNamespace(suite="smoke", device="cpu", is_quick=True)

    cases = list(bench_large.laid_out(tmp_path, shape, budget_bytes, options))
    bounded = [(what, one) for what, one in cases if what == "LoRA" and one.memory_bytes]
    (run,) = bench_large.measure(tmp_path, bounded[:1])

    assert shape.size_bytes > 2 * LEFT_BYTES
    assert (run.outcome, run.weights, run.dtype) == ("pass", "streamed", "BF16")
    assert run.private_bytes < budget_bytes
