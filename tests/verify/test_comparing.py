"""Comparisons as a run makes them: looks, references, several together, on plain values."""

from dataclasses import replace

import numpy as np
import pytest

from deltareg.suites.probe_set import Samples
from deltareg.suites.suite import read_suite
from deltareg_verify.judging.examine import examine
from deltareg_verify.judging.verdict import judge
from tests.verify.bench import sample_bench
from tests.verify.plain_engine import PlainEngine

COUNT = 2_000
LABELS = np.arange(COUNT) % 2


@pytest.fixture(scope="module")
def bench(cache_dir):
    return sample_bench("tinyllama/lora_qv", cache_dir)


class Answering(PlainEngine):
    """Gets a share of the labels wrong, of a larger share all of these, and counts what it runs."""

    def __init__(self, *, wrong, base=0.0, seed=0):
        super().__init__()
        self.ran = 0
        drawn = (np.random.default_rng(seed).permutation(COUNT) + 0.5) / COUNT
        self.scores = {
            state: np.eye(2, dtype=np.float32)[np.where(drawn < share, 1 - LABELS, LABELS)]
            for state, share in (("attached", wrong), ("base", base))
        }

    def outputs_for(self, state, inputs):
        self.ran += len(inputs["rows"])
        return {"logits": self.scores[state][inputs["rows"]]}


@pytest.fixture
def results(bench):
    """Run the checks of a suite, given as YAML, on engines of plain values."""

    def run(checks, engine, *, promoted=None, references=None, names=None, count=COUNT):
        text = f"name: made\nseed: 5\nsets: {{rows: {{file: a.jsonl}}}}\nchecks: {checks}\n"
        rows = Samples(arrays={"rows": np.arange(count)}, labels=LABELS[:count])
        case = bench.case(
            engine=lambda _: engine,
            samples=lambda _: rows,
            promoted=None if promoted is None else lambda _: promoted,
            references={key: (lambda _, other=other: other) for key, other in (references or {}).items()},
            names=names or {},
        )
        suite = read_suite(text.encode())
        case.suite = replace(case.suite, sets=suite.sets, checks=suite.checks, seed=suite.seed)
        return {result.name: result for result in examine(case)}

    return run


def suite_with(check):
    return read_suite(f"name: made\nsets: {{rows: {{file: a.jsonl}}}}\nchecks: [{check}]\n".encode())


def accuracy(margin, *, more="", name="accuracy", against="promoted"):
    return (
        f"{{check: accuracy, name: {name}, probes: rows, against: {against},"
        f" threshold: {{min_absolute_change: -{margin}}}{more}}}"
    )


LOOKS = ", looks: {first: 100}"


def test_what_is_clear_takes_few_samples(results):
    ours, promoted = Answering(wrong=0.1), Answering(wrong=0.1)

    found = results(f"[{accuracy(0.1, more=LOOKS)}]", ours, promoted=promoted)["accuracy"]

    assert (found.verdict, found.comparison.decision) == ("pass", "met")
    assert (found.comparison.look, found.comparison.looks, found.comparison.n) == (1, 5, 100)
    assert ours.ran == promoted.ran == 100


def test_what_is_not_clear_takes_more_samples_up_to_all(results):
    ours, promoted = Answering(wrong=0.1), Answering(wrong=0.1)

    found = results(f"[{accuracy(0.0001, more=LOOKS)}]", ours, promoted=promoted)["accuracy"]

    assert (found.verdict, found.code) == ("warn", "undecided")
    assert (found.comparison.look, found.comparison.n) == (5, COUNT)
    assert ours.ran == COUNT  # what an earlier look computed is not computed again
    assert found.comparison.needs > COUNT


def test_a_budget_ends_the_looks(results):
    ours, promoted = Answering(wrong=0.1), Answering(wrong=0.1)
    more = ", looks: {first: 100, most: 400}"

    found = results(f"[{accuracy(0.0001, more=more)}]", ours, promoted=promoted)["accuracy"]

    assert (found.comparison.look, found.comparison.most, ours.ran) == (3, 400, 400)


def test_looks_see_a_part_that_is_like_the_whole(results):
    ours, promoted = Answering(wrong=0.1), Answering(wrong=0.1)
    ours.scores["attached"] = np.eye(2, dtype=np.float32)[
        np.where(np.arange(COUNT) < COUNT // 2, LABELS, 1 - LABELS)
    ]  # the file is sorted: all that it gets wrong stands at its end

    found = results(f"[{accuracy(0.05, more=LOOKS)}]", ours, promoted=promoted)["accuracy"]

    assert (found.verdict, found.code, found.comparison.look) == ("fail", "regression", 1)


def test_a_true_loss_of_ten_points_is_no_pass_on_twenty_samples(results):
    passed = 0
    for seed in range(20):
        ours = Answering(wrong=0.2, seed=seed)
        ours.scores["attached"] = Answering(wrong=0.2, seed=100 + seed).scores["attached"]
        promoted = Answering(wrong=0.1, seed=seed)
        found = results(f"[{accuracy(0.02)}]", ours, promoted=promoted, count=20)["accuracy"]
        passed += found.verdict == "pass"

    assert passed == 0


def test_a_miss_stays_one_whatever_is_compared_beside_it(results):
    ours, promoted = Answering(wrong=0.1285), Answering(wrong=0.1)
    alone = accuracy(0.02)
    others = [accuracy(0.5, name=f"other_{i}") for i in range(9)]

    by_itself = results(f"[{alone}]", ours, promoted=promoted)["accuracy"]
    found = results(f"[{', '.join([alone, *others])}]", ours, promoted=promoted)

    assert by_itself.verdict == "fail"
    assert 0.0025 < by_itself.comparison.p <= 0.025  # by Holm's procedure it would be undecided among ten
    assert found["accuracy"].comparison == by_itself.comparison
    assert {found[f"other_{i}"].verdict for i in range(9)} == {"pass"}


FIVE = '"best of 5"'


def test_five_small_losses_in_a_row_are_noticed(results):
    line = [Answering(wrong=0.05 + 0.012 * step) for step in range(6)]
    beside = f", reference: {FIVE}"
    references = {"best of 5 by accuracy": line[0]}

    alone = [results(f"[{accuracy(0.02)}]", line[i + 1], promoted=line[i])["accuracy"].verdict for i in range(5)]
    held = [
        results(f"[{accuracy(0.02, more=beside)}]", line[i + 1], promoted=line[i], references=references)[
            "accuracy"
        ].verdict
        for i in range(5)
    ]

    assert alone == ["pass"] * 5
    assert held[0] == "pass"
    assert held[2:] == ["fail"] * 3


def test_a_broken_incumbent_is_noticed_and_is_no_yardstick(results):
    good, broken = Answering(wrong=0.05), Answering(wrong=0.6)
    more = ", reference: me/chat:v3"
    names = {"promoted": "me/chat:v6", "me/chat:v3": "me/chat:v3"}
    run = {"promoted": broken, "references": {"me/chat:v3": good}, "names": names}

    as_bad = results(f"[{accuracy(0.05, more=more)}]", Answering(wrong=0.55), **run)["accuracy"]
    better = results(f"[{accuracy(0.05, more=more)}]", Answering(wrong=0.05), **run)["accuracy"]

    assert (as_bad.verdict, as_bad.code) == ("fail", "regression")
    assert (better.verdict, better.code) == ("warn", "worse_incumbent")
    assert "me/chat:v6, which the channel serves, is itself worse than me/chat:v3" in better.detail
    assert (as_bad.comparison.against, as_bad.comparison.other) == ("me/chat:v3", "me/chat:v3")
    assert [(one.against, one.decision) for one in as_bad.beside] == [("promoted", "met")]


def test_the_base_is_a_reference_too(results):
    ours, broken = Answering(wrong=0.1, base=0.1), Answering(wrong=0.5)

    found = results(f"[{accuracy(0.05, more=', reference: base')}]", ours, promoted=broken)

    assert found["accuracy"].code == "worse_incumbent"


def test_a_version_that_is_named_is_compared_with(results):
    against = accuracy(0.05, against="me/chat:v3")
    good = {"me/chat:v3": Answering(wrong=0.05)}

    found = results(f"[{against}]", Answering(wrong=0.3), references=good)["accuracy"]

    assert (found.verdict, found.comparison.against) == ("fail", "me/chat:v3")


@pytest.mark.parametrize("wrong", [0.0, 0.1])
def test_a_version_that_is_named_and_not_there_is_no_pass(results, wrong):
    names = {"me/chat:v3": "there is no me/chat:v3"}
    beside = f"{accuracy(0.05, more=', reference: me/chat:v3')}"

    alone = results(f"[{accuracy(0.05, against='me/chat:v3')}]", Answering(wrong=wrong), names=names)["accuracy"]
    both = results(f"[{beside}]", Answering(wrong=wrong), promoted=Answering(wrong=0.0), names=names)["accuracy"]

    assert (alone.verdict, alone.detail) == ("skipped", "there is no me/chat:v3")
    assert both.verdict == ("skipped" if wrong == 0.0 else "fail")  # what it lacks hides no loss


@pytest.mark.parametrize("against", [FIVE, "best", "promoted"])
def test_the_base_stands_in_where_there_is_no_version_yet(results, against):
    same, worse = Answering(wrong=0.1, base=0.1), Answering(wrong=0.31, base=0.1)

    kept = results(f"[{accuracy(0.05, against=against)}]", same)["accuracy"]
    lost = results(f"[{accuracy(0.05, against=against)}]", worse)["accuracy"]

    assert (kept.verdict, kept.comparison.against, kept.comparison.other) == ("pass", "base", "the base")
    assert (lost.verdict, lost.code) == ("fail", "worse_than_base")


@pytest.mark.parametrize("against", [FIVE, "best"])
@pytest.mark.parametrize("beside", [True, False])
def test_the_promoted_version_and_the_base_stand_in_for_a_best_without_a_value(results, against, beside):
    check = accuracy(0.05, more=f", reference: {against}") if beside else accuracy(0.05, against=against)
    promoted = Answering(wrong=0.02)

    lost = results(f"[{check}]", Answering(wrong=0.23, base=0.4), promoted=promoted)["accuracy"]
    kept = results(f"[{check}]", Answering(wrong=0.02, base=0.4), promoted=promoted)["accuracy"]

    assert (lost.verdict, lost.comparison.against) == ("fail", "promoted")
    assert (kept.verdict, {kept.comparison.against, *(one.against for one in kept.beside)}) == (
        "pass",
        {"base", "promoted"},
    )
    assert "to compare with" in kept.detail


class Headless(Answering):
    """Has classes with its delta alone: the base has no head."""

    def outputs_for(self, state, inputs):
        return {} if state == "base" else super().outputs_for(state, inputs)


WHY = ', "n/a": the base has no classes'


@pytest.mark.parametrize(("more", "shown"), [("", False), (WHY, True), (", parameters: {missing: n/a}", True)])
def test_a_new_head_has_nothing_to_be_compared_with_and_the_suite_may_say_why(results, more, shown):
    found = results(f"[{accuracy(0.05, more=more)}]", Headless(wrong=0.1))["accuracy"]
    suite = suite_with(accuracy(0.05, more=more))

    assert (found.verdict, found.code) == ("n/a", "nothing_to_compare")
    assert "the channel serves no other version yet, the base has no accuracy" in found.detail
    assert ("the base has no classes" in found.detail) == (more == WHY)
    assert judge(suite, [found]) == ("pass" if shown else "inconclusive")


def test_what_is_asked_of_the_measure_itself_is_judged_without_anything_beside_it(results):
    asked = accuracy(0.05).replace("threshold: {", "threshold: {threshold: 0.8, ")
    only = asked.replace(", min_absolute_change: -0.05", "")

    assert results(f"[{asked}]", Headless(wrong=0.4))["accuracy"].code == "below_threshold"
    assert results(f"[{asked}]", Headless(wrong=0.1))["accuracy"].verdict == "n/a"
    assert results(f"[{only}]", Headless(wrong=0.1))["accuracy"].verdict == "pass"


@pytest.mark.parametrize(("base", "verdict"), [({}, "n/a"), ({"base": 12.0}, "warn"), ({"base": 5.0}, "fail")])
def test_for_an_incumbent_that_gives_no_number_the_base_stands_in(bench, base, verdict):
    ours, sick = (PlainEngine(perplexities={"attached": value, **base}) for value in (10.0, np.nan))
    check = (
        "{check: perplexity, probes: rows, against: promoted,"
        " threshold: {min_relative_change: -0.1, greater_is_better: false}}"
    )
    texts = Samples(tuple("ab" for _ in range(30)))
    suite = read_suite(f"name: made\nsets: {{rows: {{file: a.txt}}}}\nchecks: [{check}]\n".encode())
    case = bench.case(engine=lambda _: ours, samples=lambda _: texts, promoted=lambda _: sick)
    case.suite = replace(case.suite, sets=suite.sets, checks=suite.checks)

    (found,) = examine(case)

    assert found.verdict == verdict
    assert "the promoted version gives no number to compare" in found.detail
    assert found.code == {"n/a": "nothing_to_compare", "warn": "worse_incumbent", "fail": "worse_than_base"}[verdict]
