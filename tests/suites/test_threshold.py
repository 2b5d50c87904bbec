"""Thresholds in MLflow's four terms, held against intervals; and the intervals themselves."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltareg.suites.estimate import Estimate, exponential, of_difference, of_drawn, of_ratio, of_share, rows_drawn
from deltareg.suites.threshold import Threshold

SURE = 1e-9


def sure(value):
    return Estimate(value, value - SURE, value + SURE, 1000)


@pytest.mark.parametrize(
    ("threshold", "baseline", "mark"),
    [
        (Threshold(0.8), None, 0.8),
        (Threshold(min_absolute_change=0.05), 0.7, 0.75),
        (Threshold(min_relative_change=0.1), 0.5, 0.55),
        (Threshold(0.8, 0.05, 0.1), 0.7, 0.8),
        (Threshold(min_relative_change=0.1), -2.0, -1.8),
        (Threshold(12, greater_is_better=False), None, 12),
        (Threshold(min_absolute_change=1, greater_is_better=False), 10.0, 9),
        (Threshold(min_relative_change=-0.5, greater_is_better=False), 10.0, 15),
        (Threshold(12, -5, -0.1, greater_is_better=False), 10.0, 11),
    ],
)
def test_the_mark_is_the_hardest_of_what_is_asked(threshold, baseline, mark):
    assert threshold.mark(baseline) == pytest.approx(mark)
    assert threshold.judge(sure(mark), baseline) == "pass"
    better, worse = (mark + 0.01, mark - 0.01)[:: 1 if threshold.greater_is_better else -1]
    assert threshold.judge(sure(better), baseline) == "pass"
    assert threshold.judge(sure(worse), baseline) == "fail"


@pytest.mark.parametrize(
    ("found", "judgement"),
    [
        (Estimate(0.81, 0.6, 0.9, 20), "pass"),
        (Estimate(0.79, 0.6, 0.9, 20), "undecided"),
        (Estimate(0.79, 0.77, 0.799, 9000), "fail"),
        (Estimate(math.nan, math.nan, math.nan, 20), "fail"),
        (Estimate(math.nan, 0.0, 1.0, 20), "fail"),
    ],
)
def test_few_samples_decide_nothing_by_a_hair(found, judgement):
    assert Threshold(0.8).judge(found, None) == judgement


def test_a_measure_without_bound_fails_where_less_is_better():
    endless = Estimate(math.inf, math.inf, math.inf, 30)

    assert Threshold(9, greater_is_better=False).judge(endless, None) == "fail"


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    # Newcombe (1998, Stat. Med. 17:857), table I, score method without continuity correction.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_of_a_share_is_that_of_the_literature(hits, n, low, high):
    found = of_share(hits, n)

    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_share_lies_in_its_interval(sample):
    found = of_share(*sample)

    assert 0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1


def test_the_interval_of_a_ratio_covers_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(3)
    covered = 0
    for trial in range(200):
        sizes = random.integers(5, 40, 60).astype(float)
        parts = sizes * random.normal(2.0, 0.5, 60)
        found = of_ratio(parts, sizes, seed=trial)
        covered += found.low <= 2.0 <= found.high

    assert 180 <= covered <= 200


def test_the_same_samples_show_a_small_change_that_their_intervals_hide():
    random = np.random.default_rng(4)
    sizes = np.full(40, 20.0)
    theirs = sizes * random.normal(3.0, 1.0, 40)
    ours = theirs - sizes * random.normal(0.1, 0.05, 40)

    apart = of_ratio(ours, sizes, seed=1)
    together = of_difference(ours, theirs, sizes, seed=1)

    assert apart.low < theirs.sum() / sizes.sum() < apart.high
    assert together.high < 0


def test_the_same_samples_give_the_same_interval():
    parts, sizes = np.arange(1.0, 31.0), np.ones(30)

    assert of_ratio(parts, sizes, seed=5) == of_ratio(parts, sizes, seed=6)


def test_draws_of_few_samples_are_taken_further_out():
    values = np.random.default_rng(6).normal(size=12)
    drawn = values[rows_drawn(12, seed=1)].mean(1)

    found = of_drawn(float(values.mean()), drawn, 12)

    low, high = np.percentile(drawn, [2.5, 97.5])
    assert found.low < low
    assert found.high > high


def test_what_overflows_is_without_bound():
    assert exponential(Estimate(800.0, 1.0, 900.0, 3)) == Estimate(math.inf, math.e, math.inf, 3)


@pytest.mark.parametrize(
    ("threshold", "told"),
    [
        (Threshold(0.8), "at least 0.8"),
        (Threshold(min_relative_change=-0.5, greater_is_better=False), "at most 1.5 x base"),
        (Threshold(9, 0.5, greater_is_better=False), "at most 9, at most base -0.5"),
        (Threshold(min_absolute_change=-0.02), "at least base -0.02"),
    ],
)
def test_a_threshold_in_words(threshold, told):
    assert threshold.describe("base") == told
