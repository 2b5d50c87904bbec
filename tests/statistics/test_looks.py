"""Looks and power, against SciPy's multivariate normal, statsmodels and simulation."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from deltareg.statistics.intervals import mean_interval
from deltareg.statistics.looks import growing, look_tails
from deltareg.statistics.power import chance_to_pass, samples_needed, spread_of_shares
from deltareg.statistics.quantiles import TAIL, normal_quantile, t_quantile
from deltareg.statistics.trial import Look, decide, p_missed, samples_to_decide


def look_at(values, mark):
    return Look(lambda tail: mean_interval(values, tail=tail), mark)


def crossing_probability(samples, tails):
    """How often a process crosses any of its ends, by SciPy's multivariate normal."""
    shares = np.array(samples) / samples[-1]
    correlation = np.sqrt(np.minimum.outer(shares, shares) / np.maximum.outer(shares, shares))
    ends = stats.norm.isf(tails)
    return 1 - stats.multivariate_normal(cov=correlation, seed=1).cdf(ends)


@pytest.mark.parametrize("tail", [0.025, 0.005])
@pytest.mark.parametrize("samples", [(100,), (50, 100), (25, 50, 75, 100), (30, 60, 120, 240)])
def test_looks_together_err_no_more_often_than_one(samples, tail):
    found = look_tails(samples, tail=tail)

    assert sum(found) == pytest.approx(tail)
    assert 0.7 * tail < crossing_probability(samples, found) <= 1.001 * tail


def test_looks_double_until_all_is_seen():
    assert growing(100, 800) == (100, 200, 400, 800)
    assert growing(100, 730) == (100, 200, 400, 730)
    assert growing(100, 120) == (120,)


@pytest.mark.parametrize(("spread", "margin"), [(1.0, 0.5), (0.4, 0.1), (1.0, 0.2)])
def test_samples_needed_are_those_of_statsmodels(spread, margin):
    needed = TTestPower().solve_power(margin / spread, alpha=0.025, power=0.8, alternative="larger")

    assert samples_needed(spread, margin) == pytest.approx(needed, rel=0.03)


def test_a_loss_that_is_found_is_found_as_often_as_it_says():
    random, n, margin = np.random.default_rng(7), 60, 0.2
    loss = margin + (t_quantile(TAIL, n - 1) + normal_quantile(0.2)) / n**0.5
    looks = [look_at(values, -margin) for values in random.normal(-loss, 1.0, (1_000, n))]

    found = np.mean([decide([look], [n]) == "missed" for look in looks])

    assert found == pytest.approx(0.8, abs=0.04)


def test_nothing_shows_that_less_is_lost_than_is():
    with pytest.raises(ValueError, match="no number of samples"):
        samples_needed(1.0, 0.1, gain=-0.1)


def test_the_chance_to_pass_falls_with_the_loss():
    spread = spread_of_shares(0.1)

    chances = [chance_to_pass(spread, 0.03, 1_000, gain=-loss) for loss in (0.0, 0.01, 0.03, 0.05)]

    assert chances == sorted(chances, reverse=True)
    assert chances[2] == pytest.approx(0.025, abs=1e-3)


def normal_looks(random, mean, planned):
    values = random.normal(mean, 1.0, planned[-1])
    return [look_at(values[:n], -0.2) for n in planned]


@pytest.mark.parametrize(("mean", "wrong"), [(-0.2, "met"), (-0.2, "missed")])
def test_a_trial_at_its_margin_errs_no_more_often_than_it_says(mean, wrong):
    random, planned, trials = np.random.default_rng(8), (25, 50, 100), 600
    errors = 0
    for _ in range(trials):
        looks = normal_looks(random, mean, planned)
        said = [decide(looks[: k + 1], planned) for k in range(len(planned))]
        errors += next((one for one in said if one != "undecided"), "undecided") == wrong

    assert stats.binomtest(errors, trials, 0.025, alternative="greater").pvalue > 0.001


def test_the_p_value_says_at_which_error_it_would_have_failed():
    random, planned = np.random.default_rng(9), (40, 80)
    looks = normal_looks(random, -0.5, planned)

    p = p_missed(looks, planned)

    assert 1e-9 < p < 0.5
    assert decide(looks, planned, tail=p * 1.01) == "missed" or looks[0].is_missed(
        look_tails(planned, tail=p * 1.01)[0]
    )
    assert decide(looks, planned, tail=p * 0.99) == "undecided"


def test_what_is_no_number_misses_any_mark():
    look = Look(lambda tail: mean_interval(np.array([np.nan, 1.0]), tail=tail), 0.0)

    assert decide([look], [2]) == "missed"
    assert p_missed([look], [2]) == pytest.approx(1e-9)


def test_how_many_samples_would_decide():
    values = np.random.default_rng(10).normal(0.0, 1.0, 50)
    look = Look(lambda tail: mean_interval(values - values.mean(), tail=tail), -0.1)

    assert samples_to_decide(look, 50) == pytest.approx(samples_needed(1.0, 0.1), rel=0.3)
