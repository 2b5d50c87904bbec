"""One client that does all it can, beside others who work: the whole of it, in the soak."""

import pytest

from tests.benchmarks.bench_overload import TOGETHER, Scene


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_one_client_does_not_stop_the_others():
    """The program prints how much slower they are; here they come through at all, within bounds of memory."""
    with Scene() as scene:
        scene.measure([], 5)
        line = scene.measure(TOGETHER, 60)
        assert scene.rss_mb() < 400, line
        assert scene.faults() == "traces in the log: 0, faults: 0"
