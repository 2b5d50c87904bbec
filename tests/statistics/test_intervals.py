"""Intervals: equal to those of SciPy and statsmodels where these have them, and covering."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.proportion import proportion_confint

from deltareg.statistics.intervals import mean_interval, paired_interval, share_interval
from deltareg.statistics.quantiles import normal_quantile, normal_tail, t_quantile, t_tail

TAILS = [0.5, 0.2, 0.025, 0.003, 1e-6]


@pytest.mark.parametrize("freedom", [1, 2, 3, 9, 49, 400, 20_000])
@pytest.mark.parametrize("tail", TAILS)
def test_students_quantile_is_that_of_scipy(tail, freedom):
    found = t_quantile(tail, freedom)

    assert found == pytest.approx(stats.t.isf(tail, freedom), rel=1e-7, abs=1e-9)
    assert t_tail(found, freedom) == pytest.approx(tail, rel=1e-6)


@pytest.mark.parametrize("tail", TAILS)
def test_the_normal_quantile_is_that_of_scipy(tail):
    assert normal_quantile(tail) == pytest.approx(stats.norm.isf(tail), abs=1e-9)
    assert normal_tail(normal_quantile(tail)) == pytest.approx(tail)


@pytest.mark.parametrize("tail", [0.1, 0.025, 0.001])
@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 10), (10, 10), (81, 263)])
def test_the_interval_of_a_share_is_that_of_statsmodels(hits, n, tail):
    found = share_interval(hits, n, tail=tail)

    expected = proportion_confint(hits, n, alpha=2 * tail, method="wilson")
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-9)


def score_by_likelihood(gained, lost, n, at):
    """Tango's statistic, with the constrained likelihood maximised by SciPy."""
    counts = np.array([gained, lost, n - gained - lost])

    def unlikely(lost_share):
        shares = np.array([lost_share + at, lost_share, 1 - 2 * lost_share - at])
        return -(counts * np.log(np.maximum(shares, 1e-300))).sum()

    ends = max(0.0, -at) + 1e-12, (1 - at) / 2 - 1e-12
    lost_share = optimize.minimize_scalar(unlikely, bounds=ends, method="bounded", options={"xatol": 1e-12}).x
    return (gained - lost - n * at) / math.sqrt(n * (2 * lost_share + at - at * at))


@pytest.mark.parametrize(("gained", "lost", "n"), [(4, 9, 40), (12, 3, 50), (1, 7, 200)])
@pytest.mark.parametrize("tail", [0.05, 0.025, 0.002])
def test_a_paired_difference_ends_where_the_likelihood_says(gained, lost, n, tail):
    found = paired_interval(gained, lost, n, tail=tail)

    z = stats.norm.isf(tail)
    assert score_by_likelihood(gained, lost, n, found.low) == pytest.approx(z, abs=1e-4)
    assert score_by_likelihood(gained, lost, n, found.high) == pytest.approx(-z, abs=1e-4)


def test_where_nothing_changed_few_samples_leave_much_open():
    few, many = paired_interval(0, 0, 20), paired_interval(0, 0, 2_000)

    z2 = stats.norm.isf(0.025) ** 2
    assert (-few.low, few.high) == pytest.approx((z2 / (20 + z2),) * 2, abs=1e-6)
    assert many.high < 0.002


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 60))
def test_a_paired_difference_is_the_same_from_the_other_side(gained, lost, rest):
    n = max(1, gained + lost + rest)

    one, other = paired_interval(gained, lost, n), paired_interval(lost, gained, n)

    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-9)
    assert one.contains((gained - lost) / n)


def test_symmetric_samples_have_students_interval():
    values = np.array([-3.0, -1.5, -1.0, 1.0, 1.5, 3.0])

    found = mean_interval(values, tail=0.01)

    expected = stats.t.interval(0.98, 5, loc=0, scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-9)


def test_a_longer_tail_makes_its_side_longer_and_no_side_shorter():
    values = np.random.default_rng(3).exponential(size=30)

    found = mean_interval(values)

    low, high = stats.t.interval(0.95, 29, loc=values.mean(), scale=stats.sem(values))
    assert found.low == pytest.approx(low)
    assert found.high > high + 0.1 * (high - low) / 2


def test_a_ratio_of_equal_sizes_is_a_mean():
    values = np.random.default_rng(4).normal(2, 1, 25)

    of_ratio, of_mean = mean_interval(7 * values, np.full(25, 7.0)), mean_interval(values)

    assert (of_ratio.low, of_ratio.high) == pytest.approx((of_mean.low, of_mean.high))


def test_what_cannot_be_surrounded():
    assert math.isnan(mean_interval(np.array([1.0, math.nan, 2.0])).low)
    assert mean_interval(np.array([1.0])).high == math.inf
    assert mean_interval(np.full(9, 0.1)).low == pytest.approx(0.1)


@pytest.mark.parametrize("n", [20, 50])
@pytest.mark.parametrize(
    ("draw", "mean"),
    [
        (lambda random, shape: random.normal(size=shape), 0.0),
        (lambda random, shape: random.exponential(size=shape), 1.0),
        (lambda random, shape: random.standard_t(3, size=shape), 0.0),
    ],
    ids=["normal", "exponential", "t3"],
)
def test_an_interval_covers_as_often_as_it_says(draw, mean, n):
    samples = draw(np.random.default_rng(n), (2_000, n))

    covered = np.mean([mean_interval(one).contains(mean) for one in samples])

    assert 0.93 <= covered <= 0.97
