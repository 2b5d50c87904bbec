"""The verdict rule: nothing but shown checks makes a pass."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltareg.wire import CheckResult
from deltareg_verify.judging import verdict
from tests.verify.bench import suite_of

OUTCOMES = ("pass", "warn", "fail", "skipped", "n/a")
NAMES = ("digests", "effect", "norm_ratio", "perplexity?")
SUITE = suite_of(*NAMES)


def results(**outcomes):
    return [CheckResult(name=name, verdict=outcome) for name, outcome in outcomes.items()]


def judge(**outcomes):
    return verdict.judge(SUITE, results(**outcomes))


def all_pass(**changes):
    return {"digests": "pass", "effect": "pass", "norm_ratio": "pass", "perplexity": "pass"} | changes


def test_all_checks_passed_is_a_pass():
    assert judge(**all_pass()) == "pass"


@pytest.mark.parametrize("name", all_pass())
def test_a_warning_still_passes(name):
    assert judge(**all_pass(**{name: "warn"})) == "pass"


@pytest.mark.parametrize("name", all_pass())
def test_any_failure_fails_whether_required_or_not(name):
    assert judge(**all_pass(**{name: "fail"})) == "fail"


@pytest.mark.parametrize("name", ["digests", "effect", "norm_ratio"])
def test_a_required_check_that_was_skipped_is_inconclusive(name):
    assert judge(**all_pass(**{name: "skipped"})) == "inconclusive"


@pytest.mark.parametrize("name", ["digests", "effect", "norm_ratio"])
def test_a_required_check_that_is_missing_is_inconclusive(name):
    outcomes = all_pass()
    del outcomes[name]

    assert judge(**outcomes) == "inconclusive"


@pytest.mark.parametrize("outcome", ["skipped", "n/a", "warn"])
def test_a_check_that_is_not_required_may_show_nothing(outcome):
    assert judge(**all_pass(perplexity=outcome)) == "pass"


def test_a_check_that_is_not_required_may_be_missing():
    assert judge(digests="pass", effect="pass", norm_ratio="pass") == "pass"


def test_a_failure_counts_more_than_what_was_skipped_after_it():
    assert judge(digests="pass", norm_ratio="fail", effect="skipped") == "fail"


def test_not_applicable_counts_only_for_checks_that_may_not_apply():
    assert judge(**all_pass(norm_ratio="n/a")) == "pass"
    assert judge(**all_pass(effect="n/a")) == "inconclusive"


@pytest.mark.parametrize("twice", ["pass", "skipped", "n/a"])
def test_a_check_that_reports_twice_is_not_believed(twice):
    found = [*results(**all_pass()), CheckResult(name="digests", verdict=twice)]

    assert verdict.judge(SUITE, found) == "inconclusive"


def test_a_failure_of_a_check_that_no_suite_knows_fails():
    found = [*results(**all_pass()), CheckResult(name="stranger", verdict="fail")]

    assert verdict.judge(SUITE, found) == "fail"


def test_passes_of_checks_that_no_suite_knows_show_nothing():
    found = results(stranger="pass", other="pass")

    assert verdict.judge(SUITE, found) == "inconclusive"


def test_no_results_at_all_are_inconclusive():
    assert verdict.judge(SUITE, []) == "inconclusive"


@pytest.mark.parametrize("suite", [suite_of(), suite_of("perplexity?")])
def test_a_suite_that_requires_nothing_never_passes(suite):
    found = results(perplexity="pass")

    assert verdict.judge(suite, found) == "inconclusive"


def test_what_was_not_shown_is_named():
    found = results(digests="pass", effect="skipped")

    assert verdict.unshown(SUITE, found) == ["effect", "norm_ratio"]


def test_every_combination_follows_the_three_rules():
    """All 625: fail if any fails; pass if all that is required is shown; else inconclusive."""
    for outcomes in itertools.product(OUTCOMES, repeat=4):
        named = dict(zip(all_pass(), outcomes, strict=True))
        shown = {"pass", "warn"}
        good = named["digests"] in shown and named["effect"] in shown and named["norm_ratio"] in shown | {"n/a"}
        expected = "fail" if "fail" in outcomes else "pass" if good else "inconclusive"

        assert judge(**named) == expected, named


@given(st.permutations(list(all_pass().items())))
def test_the_order_of_results_does_not_matter(items):
    assert judge(**dict(items)) == "pass"


@given(st.lists(st.tuples(st.sampled_from(["digests", "effect", "x"]), st.sampled_from(OUTCOMES))))
def test_taking_a_result_away_never_makes_a_pass(pairs):
    found = [CheckResult(name=name, verdict=outcome) for name, outcome in pairs]
    suite = suite_of("digests", "effect")
    before = verdict.judge(suite, found)

    for index, (name, outcome) in enumerate(pairs):
        fewer = found[:index] + found[index + 1 :]
        is_twin = sum(other == name for other, _ in pairs) > 1
        if before != "pass" and outcome != "fail" and not is_twin:
            assert verdict.judge(suite, fewer) != "pass"
