"""What a suite says that it stops is stopped that often, by the gate's own decisions on new samples."""

from functools import cache

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from deltareg.statistics.intervals import mean_interval, mean_intervals
from deltareg.statistics.quantiles import TAIL
from deltareg.statistics.redrawing import LUMPS, PairedSamples, RedrawnRuns, assume_samples
from deltareg.statistics.trial import Look, decide
from tests.statistics.populations import POPULATIONS, decisions

POWER = 0.8


@pytest.mark.parametrize("n", [50, 200])
@pytest.mark.parametrize("margin", [0.05, 0.1])
def test_even_losses_of_normal_samples_are_those_of_a_power_calculation(n, margin):
    runs = RedrawnRuns(assume_samples(0.15), n)

    stopped = runs.stopped_loss(margin, power=POWER)

    room = TTestPower().solve_power(nobs=n, alpha=TAIL, power=1 - POWER, alternative="larger") * 0.15
    assert stopped == pytest.approx(max(0.0, margin - room), abs=0.005)
    assert runs.chance_to_pass(margin) == pytest.approx(
        TTestPower().power(margin / 0.15, nobs=n, alpha=TAIL, alternative="larger"), abs=0.04
    )


def test_two_versions_that_agree_stop_what_the_margin_says_and_no_less():
    same = PairedSamples(np.ones(80), np.ones(80), np.ones(80))

    runs = RedrawnRuns(same, 50)

    assert runs.chance_to_pass(0.05) == 1.0
    assert runs.stopped_loss(0.05, power=POWER) == pytest.approx(0.05, rel=1e-3)
    assert runs.failed_loss(0.05, power=POWER) == pytest.approx(0.05, rel=1e-3)


def test_of_two_figures_the_one_from_which_it_fails_is_the_larger_and_lumps_make_both_larger():
    runs = RedrawnRuns(assume_samples(0.2), 100)

    held, failed = (find(0.1, power=POWER) for find in (runs.stopped_loss, runs.failed_loss))
    lumpy_held, lumpy_failed = (find(0.1, power=POWER, lumps=LUMPS) for find in (runs.stopped_loss, runs.failed_loss))

    assert 0 < held < 0.1 < failed
    assert lumpy_failed > failed
    assert lumpy_held <= held  # what is on few samples spreads more, so it is shown to be small less often


@cache
def rates(name, n, margin, lumps):
    samples = POPULATIONS[name]
    runs = RedrawnRuns(samples, n)
    held = runs.stopped_loss(margin, power=POWER, lumps=lumps)
    failed = runs.failed_loss(margin, power=POWER, lumps=lumps)
    passes, _ = decisions(samples, n, margin, loss=held, lumps=lumps)
    # A loss on so few samples is never shown to be one: then there is no claim to test.
    fails = np.nan if failed == np.inf else decisions(samples, n, margin, loss=failed, lumps=lumps)[1]
    well, _ = decisions(samples, n, margin, loss=0.0, lumps=0.0)
    return held, failed, runs.chance_to_pass(margin), 1 - passes, fails, well


@pytest.mark.soak
@pytest.mark.parametrize("lumps", [0.0, LUMPS])
@pytest.mark.parametrize("n", [50, 200])
@pytest.mark.parametrize("name", POPULATIONS)
def test_a_claim_is_within_three_points_of_what_the_gate_does(name, n, lumps):
    is_share = POPULATIONS[name].is_share
    if is_share and lumps:
        pytest.skip("a right answer is lost whole")
    held, failed, power, stopped, fails, passes = rates(name, n, 0.1 if is_share else 0.08, lumps)

    assert passes == pytest.approx(power, abs=0.03)
    assert held == 0 or stopped == pytest.approx(POWER, abs=0.03)
    assert failed == np.inf or fails == pytest.approx(POWER, abs=0.03)


def _at(parts, sizes):
    return lambda tail: mean_interval(parts, sizes, tail=tail)


def test_the_decisions_here_are_those_of_the_gate():
    """`decisions` counts many at once; one by one they are what `decide` says."""
    generator = np.random.default_rng(5)
    for loss in (0.0, 0.05, 0.08, 0.1, 0.15, 0.3):
        parts, sizes = generator.normal(-loss, 0.1, 60), np.ones(60)

        decision = decide([Look(_at(parts, sizes), -0.08)], [60])

        interval = mean_interval(parts, sizes)
        assert (decision == "met") == (interval.low >= -0.08)
        assert (decision == "missed") == (interval.high < -0.08)


def test_many_intervals_at_once_are_those_of_one_at_a_time():
    generator = np.random.default_rng(8)
    parts, sizes = generator.exponential(1.0, (50, 30)), generator.integers(1, 40, (50, 30)).astype(float)
    parts[3] = sizes[3] * 0.25

    low, high = mean_intervals(parts, sizes, tail=0.01)

    for row in range(50):
        one = mean_interval(parts[row], sizes[row], tail=0.01)
        assert (low[row], high[row]) == (one.low, one.high)
    assert low[3] == high[3] == pytest.approx(0.25)
