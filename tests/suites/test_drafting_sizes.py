"""Margins and numbers of samples: what they promise, by statsmodels and by trying it."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from deltareg.suites.drafting.measures import PERPLEXITY, measures_of
from deltareg.suites.drafting.sizes import USUAL_LEAST, VersionSpread, gain_asked, loss_allowed, size

ACCURACY, _ = measures_of("classify")
PLENTY = 10**6


@pytest.mark.parametrize("spread", [0.3])
@pytest.mark.parametrize("power", [0.8, 0.9])
def test_as_many_samples_are_taken_as_a_power_calculation_gives(spread, power):
    sized = size(ACCURACY, VersionSpread(spread), available=PLENTY, power=power, margin=0.05)

    wanted = TTestPower().solve_power(0.05 / spread, alpha=0.025, power=power, alternative="larger")
    assert sized.n == pytest.approx(wanted, rel=0.1)  # an interval of shares needs a little more
    assert sized.power == pytest.approx(power, abs=0.03)


def test_a_loss_that_is_said_to_be_stopped_is_stopped_that_often():
    sized = size(PERPLEXITY, VersionSpread(0.4), available=400, power=0.8, margin=0.1)
    steps = np.random.default_rng(3).normal(-PERPLEXITY.to_scale(sized.losses.held), 0.4, (4_000, sized.n))

    lows = stats.ttest_1samp(steps, 0.0, axis=1).confidence_interval(0.95).low
    assert np.mean(lows >= -PERPLEXITY.to_scale(sized.margin)) == pytest.approx(0.2, abs=0.03)


def test_few_samples_widen_the_margin_so_that_healthy_versions_pass():
    few = size(ACCURACY, VersionSpread(0.4), available=100, power=0.8)
    asked = size(ACCURACY, VersionSpread(0.4), available=100, power=0.8, margin=0.02)

    assert few.margin > 0.1
    assert few.power >= 0.79
    assert "the smallest that 100 samples show" in few.learned
    assert (asked.margin, asked.n) == (0.02, 100)
    assert asked.power < 0.1


def test_margins_grow_with_what_healthy_versions_once_lost():
    calm = size(ACCURACY, VersionSpread(0.2, drifts=(0.01, -0.01)), available=PLENTY, power=0.8)
    wild = size(ACCURACY, VersionSpread(0.2, drifts=(0.02, -0.06)), available=PLENTY, power=0.8)

    assert calm.margin == 0.05
    assert wild.margin == pytest.approx(0.09)
    assert "6 points" in wild.learned


def test_a_loss_of_perplexity_is_a_share_of_what_was_there():
    sized = size(PERPLEXITY, VersionSpread(0.15), available=PLENTY, power=0.8, margin=0.1)

    wanted = TTestPower().solve_power(math.log(1.1) / 0.15, alpha=0.025, power=0.8, alternative="larger")
    assert sized.n == max(USUAL_LEAST, math.ceil(wanted))
    assert PERPLEXITY.say(0.1) == "10 %"
    assert ACCURACY.say(0.01) == "1 point"


def test_a_gain_is_asked_for_as_far_as_samples_can_show_it():
    clear = VersionSpread(0.3, single_base=0.4, gains=(0.5, 0.4))
    faint = VersionSpread(0.3, single_base=0.4, gains=(0.5, 0.04))

    assert gain_asked(clear, 200, power=0.8) == pytest.approx(0.2)
    assert gain_asked(faint, 200, power=0.8) < 0
    assert gain_asked(VersionSpread(0.3), 200, power=0.8) == 0


def test_what_may_be_forgotten_is_what_healthy_versions_forgot():
    usual, _ = loss_allowed(PERPLEXITY, VersionSpread(0.1, gains=(-0.05,)), usual=0.33)
    learned, why = loss_allowed(PERPLEXITY, VersionSpread(0.1, gains=(-0.05, -0.5)), usual=0.33)

    assert usual == 0.33
    assert learned == pytest.approx(math.expm1(0.75), rel=0.1)
    assert "65 %" in why
