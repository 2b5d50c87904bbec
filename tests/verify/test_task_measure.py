"""Measures of tasks with their intervals, on plain values, and a worker that has no lm-eval."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from deltareg.suites.suite import read_suite
from deltareg_verify.judging.examine import examine
from deltareg_verify.judging.task_measure import measure
from tests.suites.test_lm_task import filled
from tests.verify.bench import sample_bench
from tests.verify.plain_engine import PlainEngine


def mean(values):
    return sum(values) / len(values)


def of(ours, theirs, by, aggregate=mean):
    return measure(ours, theirs, by=by, aggregate=aggregate, seed=1)


def test_a_share_has_the_score_interval():
    found = of([1] * 30 + [0] * 10, [1] * 20 + [0] * 20, "mean")

    assert (found.found.value, found.baseline, found.found.n) == (0.75, 0.5, 40)
    assert (found.found.low, found.found.high) == pytest.approx((0.5981, 0.8581), abs=1e-4)
    assert found.change.low > 0.5


def test_a_mean_of_other_values_is_drawn_again():
    found = of([0.2, 0.4] * 20, [0.2, 0.4] * 20, "mean")

    assert found.found.value == pytest.approx(0.3)
    assert found.found.low < 0.3 < found.found.high
    assert (found.change.low, found.change.high) == pytest.approx((0.3, 0.3))


def test_a_perplexity_is_per_row_or_per_what_a_row_holds():
    rows = of([-1.0, -3.0], [-1.0, -1.0], "perplexity")
    words = of([(-1.0, 2), (-5.0, 4)], [(-3.0, 2), (-3.0, 4)], "weighted_perplexity")
    bits = of([(-1.0, 2), (-5.0, 4)], [(-3.0, 2), (-3.0, 4)], "bits_per_byte")

    assert (rows.found.value, rows.baseline) == pytest.approx((math.exp(2), math.e))
    assert words.found.value == pytest.approx(math.e)
    assert bits.found.value == pytest.approx(1 / math.log(2))


def test_a_score_of_probabilities_is_a_mean_of_misses():
    sure, torn, wrong = (np.array(given) for given in ([1.0, 0.0], [0.5, 0.5], [0.0, 1.0]))

    found = of([(0, sure), (1, torn)], [(0, wrong), (0, wrong)], "brier_score")

    assert (found.found.value, found.baseline) == (0.25, 2.0)


def test_what_only_all_rows_have_is_drawn_again_for_both_together():
    ours, theirs = list(range(40)), [value - 5 for value in range(40)]

    found = of(ours, theirs, "bleu", aggregate=max)

    assert (found.found.value, found.baseline) == (39, 34)
    assert found.found.low < found.found.high == 39
    assert (found.change.low, found.change.high) == (39, 39)


def test_a_worker_without_lm_eval_says_what_to_install(cache_dir, monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)  # as if it had never been installed
    case = sample_bench("tinyllama/lora_qv", cache_dir).case(task=lambda _: filled(), engine=lambda _: PlainEngine())
    check = "{check: lm_eval, probes: t, parameters: {metric: acc}}"
    case.suite = read_suite(f"name: a\nsets: {{t: {{file: t.yaml}}}}\nchecks: [{check}]".encode())

    (result,) = examine(case)

    assert result.verdict == "skipped"
    assert "pip install 'deltareg[lm-eval]'" in result.detail


@pytest.mark.usefixtures("forked")  # from a process that has imported all of this and more
def test_nothing_of_it_is_imported_before_a_suite_asks():
    program = (
        "import os, sys, json; os.environ['HF_HUB_OFFLINE'] = '1'\n"
        "before = {*sys.modules}\n"  # of a process that is forked, and knows a lot
        "from deltareg_verify.child import main; main.warm()\n"
        "dear = {'lm_eval', 'datasets', 'evaluate', 'sacrebleu'}\n"
        "print(json.dumps(sorted(dear & {*sys.modules} - before)))"
    )

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert json.loads(said.stdout.splitlines()[-1]) == []
