"""Checks with thresholds: what passes, fails, warns, and what is missing, on plain values."""

from dataclasses import replace

import numpy as np
import pytest

from deltareg.errors import InvalidInput
from deltareg.suites.probe_set import Samples
from deltareg.suites.suite import read_suite
from deltareg_verify.judging.checks import all_checks
from tests.verify.bench import sample_bench
from tests.verify.plain_engine import PlainEngine

LABELS = np.arange(40) % 2


def scores(right):
    """Give the scores of a network that gets the first `right` of the labels."""
    guessed = np.where(np.arange(40) < right, LABELS, 1 - LABELS)
    return np.eye(2, dtype=np.float32)[guessed]


@pytest.fixture(scope="module")
def bench(cache_dir):
    return sample_bench("tinyllama/lora_qv", cache_dir)


@pytest.fixture
def find(bench):
    """Run one check of a suite on engines of plain values."""

    def run(check, settings, engine, *, samples=None, promoted=None):
        text = (
            "name: made\nsets: {texts: {text: [a, b]}, rows: {file: a.jsonl}}\n"
            f"checks: [{{check: {check}, {settings}}}]\n"
        )
        case = bench.case(
            engine=lambda _: engine,
            samples=lambda _: samples,
            promoted=None if promoted is None else lambda _: promoted,
        )
        suite = read_suite(text.encode())
        case.suite = replace(case.suite, sets=suite.sets, checks=suite.checks)
        return all_checks()[check].run(case, suite.checks[0])

    return run


class Answering(PlainEngine):
    """Gives prepared rows of scores for rows of an input that counts them."""

    def __init__(self, **answers):
        super().__init__()
        self.answers = answers

    def outputs_for(self, state, inputs):
        return {"logits": self.answers[state][inputs["rows"]]}


@pytest.fixture
def accuracy(find):
    """Run the check on networks that get so many of 40 labels."""

    def run(settings, *, ours, base=20, promoted=None):
        rows = Samples(arrays={"rows": np.arange(40)}, labels=LABELS)
        engine = Answering(attached=scores(ours), base=scores(base))
        other = None if promoted is None else Answering(attached=scores(promoted))
        settings = f"probes: rows, {settings}"
        return find("accuracy", settings, engine, samples=rows, promoted=other)

    return run


@pytest.mark.parametrize(("ours", "verdict"), [(36, "pass"), (32, "pass"), (30, "warn"), (26, "fail"), (24, "fail")])
def test_an_accuracy_fails_when_its_interval_misses_the_mark(accuracy, ours, verdict):
    finding = accuracy("threshold: {threshold: 0.8}", ours=ours)

    assert finding.verdict == verdict
    assert (finding.value, finding.threshold, finding.baseline) == (ours / 40, 0.8, 0.5)
    assert "n = 40" in finding.detail
    assert finding.code == ("" if verdict == "pass" else "below_threshold")


def test_what_is_not_decided_may_fail(accuracy):
    settings = "threshold: {threshold: 0.8}, parameters: {undecided: fail}"

    assert accuracy(settings, ours=30).verdict == "fail"


@pytest.mark.parametrize(
    ("margin", "ours", "verdict", "code"),
    [
        (0.1, 36, "pass", ""),
        (0.03, 36, "warn", "undecided"),  # the same answers, and too few to leave out a loss
        (0.03, 34, "warn", "undecided"),
        (0.03, 20, "fail", "regression"),
    ],
)
def test_a_version_is_compared_with_the_promoted_one_sample_by_sample(accuracy, margin, ours, verdict, code):
    settings = f"against: promoted, threshold: {{min_absolute_change: -{margin}}}"

    finding = accuracy(settings, ours=ours, promoted=36)

    assert (finding.verdict, finding.baseline, finding.code) == (verdict, 0.9, code)
    assert f"at least {0.9 - margin:.4g} is asked" in finding.detail


def test_what_is_undecided_says_what_would_decide_it(accuracy):
    settings = "against: promoted, threshold: {min_absolute_change: -0.03}"

    finding = accuracy(settings, ours=36, promoted=36)

    assert "undecided: about 700 samples would decide it, or a wider margin" in finding.detail
    assert finding.comparison.answer().needs == pytest.approx(700, abs=15)


def test_an_undecided_comparison_may_fail(accuracy):
    settings = "against: promoted, threshold: {min_absolute_change: -0.03}, parameters: {undecided: fail}"

    finding = accuracy(settings, ours=35, promoted=36)

    assert (finding.verdict, finding.code) == ("fail", "undecided")


@pytest.mark.parametrize(("ours", "outcome"), [(36, ("pass", "")), (34, ("warn", "undecided"))])
def test_a_suite_may_say_that_the_estimate_decides(accuracy, ours, outcome):
    settings = "against: promoted, threshold: {min_absolute_change: -0.03}, parameters: {undecided: estimate}"

    finding = accuracy(settings, ours=ours, promoted=36)

    assert (finding.verdict, finding.code) == outcome


def test_a_threshold_of_its_own_stands_beside_a_margin(accuracy):
    both = "against: base, threshold: {threshold: 0.95, min_absolute_change: -0.2}"

    finding = accuracy(both, ours=30, base=30)

    assert (finding.verdict, finding.code) == ("fail", "below_threshold")


def test_where_nothing_is_promoted_the_base_stands_in(accuracy):
    asked = "against: promoted, threshold: {min_absolute_change: -0.1}"

    assert accuracy(asked, ours=10, base=30).code == "worse_than_base"
    assert accuracy(asked, ours=40, base=30).verdict == "pass"


def test_worse_than_the_base_is_called_so(accuracy):
    finding = accuracy("threshold: {min_absolute_change: 0.1}", ours=10, base=30)

    assert (finding.verdict, finding.code) == ("fail", "worse_than_base")


def test_without_a_threshold_a_measure_only_tells(accuracy):
    finding = accuracy("required: false", ours=1)

    assert (finding.verdict, finding.value) == ("pass", 1 / 40)


def test_a_score_that_is_no_number_is_no_answer(find):
    sick = np.full((40, 2), np.nan, np.float32)
    rows = Samples(arrays={"rows": np.arange(40)}, labels=LABELS)
    engine = Answering(attached=sick, base=scores(40))

    finding = find("accuracy", "probes: rows, threshold: {threshold: 0.1}", engine, samples=rows)

    assert (finding.verdict, finding.value) == ("fail", 0.0)


@pytest.mark.parametrize(("settings", "verdict"), [("required: true", "fail"), ("parameters: {missing: n/a}", "n/a")])
def test_a_measure_that_is_missing_fails_unless_the_suite_says_otherwise(find, settings, verdict):
    rows = Samples(arrays={"rows": np.arange(40)}, labels=LABELS)
    engine = Answering(attached=scores(3)[:, 0], base=scores(3)[:, 0])

    finding = find("accuracy", f"probes: rows, {settings}", engine, samples=rows)

    assert finding.verdict == verdict


def test_too_few_samples_decide_nothing(find):
    few = Samples(arrays={"rows": np.arange(3)}, labels=LABELS[:3])
    engine = Answering(attached=scores(40), base=scores(40))

    with pytest.raises(InvalidInput, match="too few"):
        find("accuracy", "probes: rows, threshold: {threshold: 0.5}", engine, samples=few)


def pairs(found):
    """Give scores of 30 pairs of which the first `found` score highest with each other."""
    order = np.concatenate([np.arange(found), np.roll(np.arange(found, 30), 1)])
    return {"logits_per_image": np.eye(30, dtype=np.float32)[order]}


class Paired(PlainEngine):
    def outputs_for(self, state, inputs):
        return getattr(self, state)


@pytest.mark.parametrize(("found", "verdict"), [(30, "pass"), (27, "pass"), (24, "warn"), (10, "fail")])
def test_pairs_that_are_found(find, found, verdict):
    engine = Paired(attached=pairs(found), base=pairs(30))
    samples = Samples(arrays={"input_ids": np.zeros((30, 2), np.int64)})

    settings = "probes: rows, threshold: {threshold: 0.9}"
    finding = find("retrieval", settings, engine, samples=samples)

    assert (finding.verdict, finding.value) == (verdict, found / 30)


def test_one_score_for_all_finds_nothing(find):
    flat = {"logits_per_image": np.ones((30, 30), np.float32)}
    samples = Samples(arrays={"input_ids": np.zeros((30, 2), np.int64)})

    finding = find("retrieval", "probes: rows", Paired(attached=flat, base=flat), samples=samples)

    assert finding.value == 0


@pytest.mark.parametrize(("took", "verdict"), [(0.02, "pass"), (0.06, "fail")])
def test_a_forward_that_takes_too_long(find, took, verdict):
    engine = PlainEngine(times={"base": [0.01] * 5, "attached": [took] * 5})

    finding = find("latency", "threshold: {threshold: 5, greater_is_better: false}", engine)

    assert (finding.verdict, finding.value) == (verdict, pytest.approx(took / 0.01))


@pytest.mark.parametrize(("most", "verdict"), [(2e6, "pass"), (9e5, "fail")])
def test_too_much_memory(find, most, verdict):
    settings = f"threshold: {{threshold: {most:.0f}, greater_is_better: false}}"

    assert find("memory", settings, PlainEngine()).verdict == verdict
