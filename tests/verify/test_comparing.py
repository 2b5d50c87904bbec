"""Comparisons as a run makes them: looks, references, several together, on plain values."""

from dataclasses import replace

import numpy as np
import pytest

from deltareg.suites.probe_set import Samples
from deltareg.suites.suite import read_suite
from deltareg_verify.judging.examine import examine
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


def test_several_comparisons_fail_together_as_holm_says(results):
    ours, promoted = Answering(wrong=0.1285), Answering(wrong=0.1)
    alone = accuracy(0.02)
    others = [accuracy(0.5, name=f"other_{i}") for i in range(9)]

    by_itself = results(f"[{alone}]", ours, promoted=promoted)["accuracy"]
    found = results(f"[{', '.join([alone, *others])}]", ours, promoted=promoted)

    assert by_itself.verdict == "fail"
    assert 0.0025 < by_itself.comparison.p <= 0.025
    assert (found["accuracy"].verdict, found["accuracy"].code) == ("warn", "undecided")
    assert "one of 10 comparisons, Holm" in found["accuracy"].detail
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
    assert as_bad.comparison.against == "promoted"
    assert as_bad.comparison.other == "me/chat:v3"


def test_the_base_is_a_reference_too(results):
    ours, broken = Answering(wrong=0.1, base=0.1), Answering(wrong=0.5)

    found = results(f"[{accuracy(0.05, more=', reference: base')}]", ours, promoted=broken)

    assert found["accuracy"].code == "worse_incumbent"


def test_a_version_that_is_named_is_compared_with(results):
    against = accuracy(0.05, against="me/chat:v3")
    good = {"me/chat:v3": Answering(wrong=0.05)}

    found = results(f"[{against}]", Answering(wrong=0.3), references=good)["accuracy"]

    assert (found.verdict, found.comparison.against) == ("fail", "me/chat:v3")


@pytest.mark.parametrize(("against", "verdict"), [("me/chat:v3", "skipped"), (FIVE, "n/a"), ("promoted", "n/a")])
def test_a_version_that_is_not_there_is_no_pass_where_it_was_named(results, against, verdict):
    names = {"me/chat:v3": "there is no me/chat:v3"}

    found = results(f"[{accuracy(0.05, against=against)}]", Answering(wrong=0.1), names=names)

    assert found["accuracy"].verdict == verdict


def test_an_incumbent_that_gives_no_number_decides_nothing(bench, results):
    class Losing(PlainEngine):
        pass

    ours, sick = Losing(perplexities={"attached": 10.0}), Losing(perplexities={"attached": np.nan})
    check = (
        "{check: perplexity, probes: rows, against: promoted,"
        " threshold: {min_relative_change: -0.1, greater_is_better: false}}"
    )
    texts = Samples(tuple("ab" for _ in range(30)))
    suite = read_suite(f"name: made\nsets: {{rows: {{file: a.txt}}}}\nchecks: [{check}]\n".encode())
    case = bench.case(engine=lambda _: ours, samples=lambda _: texts, promoted=lambda _: sick)
    case.suite = replace(case.suite, sets=suite.sets, checks=suite.checks)

    (found,) = examine(case)

    assert found.verdict == "skipped"
    assert "gives no number to compare" in found.detail
